"""What the page tells, on a desk and on a phone, while a server is away; a stack of its own."""

import contextlib
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from playwright.async_api import Page, ViewportSize, expect

from devstack import Ports, free_port
from devstack.server import Server
from ingest.local import CORE, LocalService, local_service
from tests.support import kcat
from tests.support.browser import chromium, needs_chromium

pytestmark = needs_chromium

PATIENCE_MS = 120_000
DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 740}
ADDRESS = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}


@dataclass(frozen=True)
class Away:
    """A service, the board's first page on a desk, and an order's page on a phone."""

    service: LocalService
    desk: Page
    phone: Page

    async def start_order(self) -> str:
        """Put the start of an order that waits for a reviewer on the topic; return its id."""
        order_id = f"W-{uuid.uuid4().hex[:6]}"
        items = [{"sku": "GOLD", "quantity": 1, "unit_price": 90_000}]
        command = {"type": "start", "order_id": order_id, "initial_address": ADDRESS}
        settings = self.service.settings
        await kcat.send(
            settings.kafka_bootstrap_servers,
            settings.commands_topic,
            json.dumps({**command, "items": items, "currency": "USD"}),
        )
        return order_id

    async def told(self, text: str) -> None:
        """Wait until both pages tell this; it has to fit on the phone."""
        for page in (self.desk, self.phone):
            await expect(page.get_by_role("status").get_by_text(text)).to_be_visible()
        assert await self.phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    async def well_again(self) -> None:
        """Wait until both pages tell of nothing, and a new order comes through to the list."""
        for page in (self.desk, self.phone):
            await expect(page.locator(".banner > *")).to_have_count(0)
            await expect(page.get_by_text("live", exact=True)).to_be_visible()
        order_id = await self.start_order()
        await expect(self.desk.get_by_role("link", name=order_id)).to_be_visible()


@pytest.fixture(scope="module")
async def away(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Away]:
    expect.set_options(timeout=PATIENCE_MS)
    api, board = free_port(), free_port()
    partners = ("SALES_URL", "SCREENING_URL", "PAYMENTS_URL", "WAREHOUSE_URL", "CARRIER_URL")
    environment = {
        "API_PORT": str(api),
        "API_URL": f"http://localhost:{api}",
        "BOARD_PORT": str(board),
        "GATEWAY_MODE": "http",
        **{name: f"http://localhost:{free_port()}" for name in partners},
    }
    directory = tmp_path_factory.mktemp("away")
    names = ("partners", *CORE, "api", "board")
    async with (
        local_service(
            directory, Ports.free(), print, environment, names, persistent=True
        ) as service,
        chromium() as browser,
    ):
        desk = await browser.new_page(viewport=DESK)
        phone = await browser.new_page(viewport=PHONE)
        away = Away(service, desk, phone)
        await desk.goto(f"http://localhost:{board}")
        order_id = await away.start_order()
        await expect(desk.get_by_role("link", name=order_id)).to_be_visible()
        await phone.goto(f"http://localhost:{board}/orders/{order_id}")
        await expect(phone.get_by_role("button", name="Approve")).to_be_visible()
        yield away


@contextlib.asynccontextmanager
async def stopped(server: Server) -> AsyncIterator[None]:
    """Keep a server away for the block."""
    await server.stop()
    try:
        yield
    finally:
        await server.start()


async def test_without_temporal_the_page_says_so_and_recovers(away: Away) -> None:
    async with stopped(away.service.stack.temporal):
        await away.told("Temporal is away")
    await away.well_again()


async def test_without_postgresql_the_page_says_so_and_recovers(away: Away) -> None:
    async with stopped(away.service.stack.postgres):
        await away.told("PostgreSQL is away")
    await away.well_again()


async def test_without_the_broker_the_page_says_so_keeps_its_figures_and_recovers(
    away: Away,
) -> None:
    shown = await away.desk.locator(".figure .value").first.inner_text()
    async with stopped(away.service.stack.kafka):
        await away.told("The figures stand still")
        await away.told("Kafka is away: no broker answers")
        await expect(away.desk.locator(".figure .value").first).to_have_text(shown)
    await away.well_again()


async def test_retries_of_the_running_step_show_while_it_runs(away: Away) -> None:
    partners = away.service.roles["partners"].pid
    os.kill(partners, signal.SIGSTOP)
    try:
        order_id = await away.start_order()
        await away.desk.get_by_role("link", name=order_id).click()
        await expect(away.desk.get_by_text("failed attempt")).to_be_visible()
        await expect(away.desk.get_by_text("Last error:")).to_be_visible()
    finally:
        os.kill(partners, signal.SIGCONT)
    await expect(away.desk.get_by_text("failed attempt")).to_have_count(0)
    await away.desk.get_by_role("link", name="Orders", exact=True).click()


async def test_without_the_api_the_page_says_so_and_recovers(away: Away) -> None:
    api = away.service.roles["api"].pid
    os.kill(api, signal.SIGSTOP)
    try:
        await away.told("Buttons and order details do not work now")
    finally:
        os.kill(api, signal.SIGCONT)
    await away.well_again()


async def test_without_the_board_the_browser_says_so_and_the_page_comes_back(away: Away) -> None:
    os.kill(away.service.roles["board"].pid, signal.SIGKILL)  # the supervisor starts it again
    for page in (away.desk, away.phone):
        await expect(page.get_by_text("Connection lost")).to_be_visible()
    for page in (away.desk, away.phone):
        await expect(page.get_by_text("Connection lost")).not_to_be_visible()
    await away.well_again()
