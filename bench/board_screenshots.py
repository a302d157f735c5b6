"""Takes the pictures in docs/screenshots/ from the real service, played for a few minutes.

    python -m bench.board_screenshots [DIRECTORY]

Every page in light, in dark, and on a phone's width.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import httpx
from aiokafka import AIOKafkaProducer
from playwright.async_api import Browser, expect

from devstack import Ports, free_port
from ingest.local import CORE, LocalService, local_service
from tests.support.browser import chromium
from tests.support.waiting import until

DIRECTORY: Final = Path("docs/screenshots")
DESKTOP: Final = {"width": 1200, "height": 800}
PHONE: Final = {"width": 390, "height": 844}
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
}
ADDRESS: Final = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
MINUTES_PLAYED: Final = 3
STARTS_A_SECOND: Final = 2.0


async def take(directory: Path) -> None:
    """Start everything on free ports, play orders, take the pictures, end everything."""
    api, board = free_port(), free_port()
    environment = {
        "API_PORT": str(api),
        "API_URL": f"http://localhost:{api}",
        "BOARD_PORT": str(board),
        "SIMULATED_FAULTS": "flaky",
    }
    with tempfile.TemporaryDirectory(prefix="orders-screenshots-") as data:
        names = (*CORE, "api", "board")
        async with local_service(
            Path(data), Ports.free(), print, environment, names, persistent=False
        ) as service:
            await play(service)
            async with chromium() as browser:
                await shoot(browser, f"http://localhost:{board}", directory)


async def play(service: LocalService) -> None:
    """Fill the board: plain orders, dear ones for reviewers, cancelled ones, dead letters."""
    settings = service.settings
    async with httpx.AsyncClient(base_url=settings.api_url, trust_env=False) as http:
        for number in range(round(MINUTES_PLAYED * 60 * STARTS_A_SECOND)):
            await http.post(f"/orders/A-{1000 + number}/start", json=_start(number))
            await asyncio.sleep(1 / STARTS_A_SECOND)
        for number in range(4, 200, 20):
            await http.post(f"/orders/A-{1000 + number}/signals/cancel", json=_CANCEL)
        await http.post("/orders/A-1009/signals/reject", json=_REJECT)
        await http.post("/orders/A-1014/signals/approve", json=_APPROVE)
        await until(_state_is(http, "A-1014", "shipped"))
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await producer.start()
    try:
        for value in (b"this is no JSON", json.dumps(_BAD).encode()):
            await producer.send_and_wait(settings.commands_topic, value)
    finally:
        await producer.stop()


_CANCEL: Final = {"reason": "no longer wanted", "cancelled_by": "customer"}
_REJECT: Final = {"reason": "address looks odd", "reviewed_by": "bob"}
_APPROVE: Final = {"reason": "known customer", "reviewed_by": "ann"}
_BAD: Final = {"type": "start", "order_id": "A-1", "initial_address": {"street": "1 Main St"}}


def _start(number: int) -> dict[str, Any]:
    body: dict[str, Any] = {"initial_address": ADDRESS}
    if number % 5 == 4:
        body["items"] = [{"sku": "GOLD", "quantity": 1, "unit_price": 90_000}]
        body["currency"] = "USD"
    return body


def _state_is(http: httpx.AsyncClient, order_id: str, state: str) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        answer = (await http.get(f"/orders/{order_id}/status")).json()
        return bool(answer.get("state") == state)

    return asked


async def shoot(browser: Browser, site: str, directory: Path) -> None:
    """Take every page in every look, each when it shows what it is for."""
    pages = {
        "board": ("/", "A-1"),
        "order": ("/orders/A-1014", "approved"),
        "review": ("/orders/A-1019", "review requested"),
        "dead-letters": ("/dead-letters", "this is no JSON"),
    }
    for look, options in LOOKS.items():
        context = await browser.new_context(**options)
        for name, (path, text) in pages.items():
            page = await context.new_page()
            await page.goto(site + path)
            await expect(page.get_by_text(text).first).to_be_visible(timeout=60_000)
            await page.wait_for_timeout(1500)  # until the chart is drawn
            await page.screenshot(path=directory / f"{name}-{look}.png", full_page=True)
            await page.close()
            print(directory / f"{name}-{look}.png")
        await context.close()


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY
    chosen.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(chosen))
