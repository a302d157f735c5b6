"""The board in a real browser over the real service: every page, every button."""

import asyncio
import contextlib
import json
import os
import re
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Locator, Page, expect

from devstack import free_port
from ingest.processes import Role, running
from tests.support.browser import chromium, needs_chromium
from tests.support.kcat import needs_kcat, shell
from tests.support.service import Service
from tests.support.waiting import until

pytestmark = needs_chromium

PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)

ADDRESS = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
DEAR = [{"sku": "GOLD", "quantity": 1, "unit_price": 90_000}]


class Site:
    """API and board of a running service."""

    def __init__(
        self, service: Service, environment: dict[str, str], roles: list[Role], log: Path
    ) -> None:
        self.service = service
        self.log = log  # JSON lines
        self.url = f"http://localhost:{environment['BOARD_PORT']}"
        self.api, self.board = roles
        self.http = httpx.AsyncClient(base_url=environment["API_URL"], trust_env=False)

    async def start_order(self, *, dear: bool = False) -> str:
        """Start an order by Kafka; a dear one waits for a reviewer."""
        order_id = f"B-{uuid.uuid4().hex[:8]}"
        command: dict[str, object] = {
            "type": "start",
            "order_id": order_id,
            "initial_address": ADDRESS,
        }
        if dear:
            command |= {"items": DEAR, "currency": "USD"}
        await self.service.send(json.dumps(command))
        return order_id

    async def logged(self, order_id: str, event_type: str) -> dict[str, str]:
        """Return what the board's log says of the command that caused an event."""
        events = await self.service.events(order_id)
        command_id = next(str(event.command_id) for event in events if event.type == event_type)
        lines = self.log.read_text().splitlines()
        said: dict[str, str] = json.loads(next(line for line in lines if command_id in line))
        return said

    async def reject(self, order_id: str, reason: str) -> None:
        """Let somebody else reject an order that waits for a reviewer."""
        answer = await self.http.post(
            f"/orders/{order_id}/signals/reject",
            json={"reviewed_by": "bob", "reason": reason},
            headers={"Prefer": "wait=30"},
        )
        assert answer.status_code == 200

    async def state(self, order_id: str) -> str:
        answer = await self.http.get(f"/orders/{order_id}/status")
        return str(answer.json().get("state"))


@pytest.fixture(scope="module")
async def site(
    service: Service,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Site]:
    api_port, board_port = free_port(), free_port()
    variables = {
        **environment,
        "API_PORT": str(api_port),
        "API_URL": f"http://localhost:{api_port}",
        "BOARD_PORT": str(board_port),
    }
    logs: Path = tmp_path_factory.mktemp("web")
    roles = [Role(name, variables, logs / f"{name}.log", print) for name in ("api", "board")]
    async with running(roles):
        site = Site(service, variables, roles, logs / "board.log")
        yield site
        await site.http.aclose()


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def page(browser: Browser, site: Site) -> AsyncIterator[Page]:
    """A page of the board; errors in its console and requests to elsewhere fail the test."""
    errors: list[str] = []
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((site.url, site.url.replace("http", "ws"), "data:", "blob:"))
            else errors.append(f"asked for {request.url}")
        ),
    )
    yield page
    await context.close()
    assert errors == []


def marked(page: Page, name: str) -> Locator:
    """Return the figure under a label."""
    return page.locator(".figure", has=page.get_by_text(name, exact=True)).locator(".value")


async def fill_and_send(page: Page, button: str, **fields: str) -> Locator:
    """Fill in the open dialog, send it, and return its outcome."""
    dialog = page.get_by_role("dialog")
    for label, text in fields.items():
        await dialog.get_by_label(label.replace("_", " "), exact=True).fill(text)
    await dialog.get_by_role("button", name=button, exact=True).click()
    return dialog.get_by_role("status")


async def tab_to(page: Page, element: Locator) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await element.evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"Tab does not reach {element}")


async def opened(page: Page, site: Site, order_id: str) -> Page:
    await page.goto(f"{site.url}/orders/{order_id}")
    return page


async def in_review(site: Site) -> str:
    order_id = await site.start_order(dear=True)

    async def waits() -> bool:
        return await site.state(order_id) == "in_review"

    await until(waits)
    return order_id


async def test_a_sample_order_started_from_the_page_ships_before_ones_eyes(
    page: Page, site: Site
) -> None:
    await page.goto(site.url)
    await page.get_by_role("button", name="Start a sample order").click()
    dialog = page.get_by_role("dialog")
    order_id = await dialog.get_by_label("Order id").input_value()
    outcome = await fill_and_send(page, "Start order", Your_name="ann", Reason="a first look")
    await expect(outcome).to_have_text("Applied: order.received")
    logged = await site.logged(order_id, "order.received")
    assert (logged["order_id"], logged["action"]) == (order_id, "start")
    assert (logged["by"], logged["reason"]) == ("ann", "a first look")
    await dialog.get_by_role("link", name="Open the order").click()
    await expect(page.get_by_role("heading", name=f"Order {order_id}")).to_be_visible()
    await expect(page.get_by_text("shipped", exact=True).first).to_be_visible()
    for event in ("received", "validated", "payment charged", "dispatched"):
        await expect(page.get_by_text(event, exact=True).first).to_be_visible()
    await expect(page.get_by_text("charged: 19.99 USD")).to_be_visible()
    await expect(page.get_by_text("123 Main St", exact=True)).to_be_visible()
    assert await page.get_by_role("button", name="Cancel").count() == 0


async def test_a_reviewer_approves_and_the_order_ships(page: Page, site: Site) -> None:
    await opened(page, site, await in_review(site))
    await expect(page.get_by_text("a reviewer has")).to_be_visible()
    await page.get_by_role("button", name="Approve").click()
    outcome = await fill_and_send(page, "Approve", Your_name="ann", Reason="known customer")
    await expect(outcome).to_have_text("Applied: order.approved")
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_text("reviewed by: ann")).to_be_visible()
    await expect(page.get_by_text("shipped", exact=True).first).to_be_visible()


async def test_a_reviewer_rejects_and_the_order_ends(page: Page, site: Site) -> None:
    await opened(page, site, await in_review(site))
    await page.get_by_role("button", name="Reject").click()
    outcome = await fill_and_send(page, "Reject", Your_name="bob", Reason="looks odd")
    await expect(outcome).to_have_text("Applied: order.rejected")
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_text("none: the order has ended")).to_be_visible()
    await expect(page.get_by_text("looks odd").first).to_be_visible()


async def test_an_address_is_changed_and_then_the_order_cancelled(page: Page, site: Site) -> None:
    order_id = await in_review(site)
    await opened(page, site, order_id)
    await page.get_by_role("button", name="Change address").click()
    outcome = await fill_and_send(
        page,
        "Change address",
        Your_name="ann",
        Street="9 Side St",
        City="Elsewhere",
        State="NY",
        Zip="54321",
        Reason="moved house",
    )
    await expect(outcome).to_have_text("Applied: order.address_updated")
    assert (await site.logged(order_id, "order.address_updated"))["reason"] == "moved house"
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_text("9 Side St", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Cancel", exact=True).click()
    outcome = await fill_and_send(page, "Cancel order", Your_name="ann", Reason="no longer wanted")
    await expect(outcome).to_have_text("Applied: order.cancelled")
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_text("cancelled", exact=True).first).to_be_visible()


async def test_what_happens_to_an_order_does_not_move_the_focus_on_its_page(
    page: Page, site: Site
) -> None:
    order_id = await in_review(site)
    await opened(page, site, order_id)
    link = page.get_by_role("link", name="Workflow in the Temporal UI")
    await expect(link).to_have_attribute("href", re.compile(f"/order-{order_id}"))
    await link.focus()
    await site.reject(order_id, "looks odd")
    await expect(page.get_by_text("none: the order has ended")).to_be_visible()
    await expect(link).to_be_focused()


async def test_a_refused_command_says_why(page: Page, site: Site) -> None:
    """The dialog is open when somebody else's decision comes first."""
    order_id = await in_review(site)
    await opened(page, site, order_id)
    await page.get_by_role("button", name="Cancel", exact=True).click()
    await site.reject(order_id, "looks odd")
    outcome = await fill_and_send(page, "Cancel order", Your_name="ann", Reason="too slow")
    await expect(outcome).to_contain_text("Rejected:")
    await expect(outcome).to_contain_text("rejected")


@pytest.mark.parametrize(
    ("opens", "sends", "empty"),
    [
        ("Approve", "Approve", 2),
        ("Reject", "Reject", 2),
        ("Cancel", "Cancel order", 2),
        ("Change address", "Change address", 6),
        ("Start a sample order", "Start order", 2),
    ],
)
async def test_every_button_asks_for_a_name_and_a_reason_and_sends_nothing_without(
    page: Page, site: Site, opens: str, sends: str, empty: int
) -> None:
    order_id = await in_review(site)
    await page.goto(site.url if sends == "Start order" else f"{site.url}/orders/{order_id}")
    await page.get_by_role("button", name=opens, exact=True).click()
    dialog = page.get_by_role("dialog")
    for label in ("Your name", "Reason"):
        await expect(dialog.get_by_label(label, exact=True)).to_be_visible()
    if sends == "Start order":
        order_id = await dialog.get_by_label("Order id").input_value()
    await dialog.get_by_role("button", name=sends, exact=True).click()
    await expect(dialog.get_by_text("Please fill this in")).to_have_count(empty)
    assert order_id not in site.log.read_text()  # what is sent is logged first


async def test_the_board_counts_an_order_without_being_asked(page: Page, site: Site) -> None:
    await page.goto(site.url)
    waiting = marked(page, "Waiting for a person")
    await expect(page.get_by_role("link", name=await in_review(site))).to_be_visible()
    button = page.get_by_role("button", name="in review")
    await button.focus()
    before = int(await waiting.inner_text())
    await in_review(site)
    await expect(waiting).to_have_text(str(before + 1))
    await expect(button).to_have_text(f"in review {before + 1}")
    await expect(button).to_be_focused()


async def test_orders_are_searched_filtered_and_sorted(page: Page, site: Site) -> None:
    first, second = await in_review(site), await in_review(site)
    await page.goto(f"{site.url}/?state=in_review")
    links = page.get_by_role("table").get_by_role("link")
    await expect(page.get_by_role("link", name=first)).to_be_visible()
    await page.get_by_label("Search order id").fill(second[-5:])
    await expect(page.get_by_role("link", name=first)).to_have_count(0)
    await expect(links).to_have_text([second])
    await page.get_by_label("Search order id").fill("B-")
    await expect(page.get_by_role("link", name=first)).to_be_visible()
    await page.get_by_label("Sort by").click()
    await page.get_by_role("option", name="Order", exact=True).click()

    async def in_order(*, reverse: bool) -> bool:
        shown = await links.all_inner_texts()
        return len(shown) > 1 and shown == sorted(shown, reverse=reverse)

    await until(lambda: in_order(reverse=False))
    await page.get_by_role("button", name="Turn the order round").click()
    await until(lambda: in_order(reverse=True))


async def test_a_line_that_moves_on_keeps_the_focus_and_takes_a_slow_click(
    page: Page, site: Site
) -> None:
    order_id = await in_review(site)
    await page.goto(f"{site.url}/?search={order_id}")
    link = page.get_by_role("link", name=order_id)
    since = page.get_by_role("row", name=order_id).get_by_role("cell").nth(2)

    async def moves_on() -> None:
        await expect(since).not_to_have_text(await since.inner_text())

    for _ in range(2):  # the first may come before all of the page's scripts have run
        await moves_on()
    await link.focus()
    await moves_on()
    await expect(link).to_be_focused()
    await link.hover()
    await page.mouse.down()
    await moves_on()
    await page.mouse.up()
    await expect(page.get_by_role("heading", name=f"Order {order_id}")).to_be_visible()


async def test_a_dead_letter_shows_its_error_and_a_replay_its_outcome(
    page: Page, site: Site
) -> None:
    await page.goto(f"{site.url}/dead-letters")
    bad = json.dumps({"type": "start", "order_id": "B-dead", "initial_address": {"city": "x"}})
    await site.service.send(bad)
    card = page.locator(".q-card", has_text="B-dead")
    await expect(card.get_by_text("initial_address.street: missing")).to_be_visible()
    replay = card.get_by_role("button", name="Replay")
    await replay.press("Enter")
    await expect(card.get_by_text("2 attempts")).to_be_visible()
    await expect(card.get_by_role("status")).to_contain_text("Dead-lettered:")
    await expect(replay).to_be_focused()


@needs_kcat
async def test_header_keys_that_are_not_utf8_stop_neither_board_nor_api(
    page: Page, site: Site
) -> None:
    value = json.dumps(
        {
            "type": "order.command_rejected",
            "order_id": "H-1",
            "sequence": 1,
            "at": "2026-01-01T00:00:00Z",
            "state": None,
            "data": {"command_type": "cancel", "reason": "unknown order"},
        }
    )
    restarts = site.api.restarts, site.board.restarts
    kcat = f"kcat -P -b {site.service.bootstrap} -H \"$(printf '\\377\\376')=1\""
    for partition in range(4):
        topic = site.service.topics.events
        await shell(f"echo '{value}' | {kcat} -k H-1 -t {topic} -p {partition}")
    await shell(f"echo odd-header | {kcat} -t {site.service.topics.commands}")
    await page.goto(f"{site.url}/dead-letters")
    await expect(page.get_by_text("odd-header", exact=True)).to_be_visible()
    await page.goto(site.url)
    await expect(page.get_by_role("link", name=await site.start_order(dear=True))).to_be_visible()
    assert (site.api.restarts, site.board.restarts) == restarts


async def test_the_keyboard_alone_starts_an_order(page: Page, site: Site) -> None:
    await page.goto(site.url)
    await expect(page.get_by_role("button", name="Start a sample order")).to_be_visible()
    await tab_to(page, page.get_by_role("button", name="Start a sample order"))
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("Order id")).to_be_visible()
    for label in ("Your name", "Reason"):
        await tab_to(page, dialog.get_by_label(label, exact=True))
        await page.keyboard.type("ann")
    send = dialog.get_by_role("button", name="Start order")
    await tab_to(page, send)
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("status")).to_have_text("Applied: order.received")
    await expect(send).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)


async def test_enter_pressed_twice_sends_one_command(page: Page, site: Site) -> None:
    await page.goto(site.url)
    await page.get_by_role("button", name="Start a sample order").click()
    dialog = page.get_by_role("dialog")
    order_id = await dialog.get_by_label("Order id").input_value()
    await dialog.get_by_label("Your name", exact=True).fill("ann")
    reason = dialog.get_by_label("Reason", exact=True)
    await reason.fill("in a hurry")
    await reason.evaluate(
        """field => [1, 2].forEach(() => field.dispatchEvent(
            new KeyboardEvent("keydown", {key: "Enter", bubbles: true})))"""
    )
    await expect(dialog.get_by_role("status")).to_have_text("Applied: order.received")
    assert site.log.read_text().count(order_id) == 1  # what is sent is logged first


@pytest.mark.parametrize("path", ["/", "/dead-letters", "/orders/{order}"])
async def test_on_a_phone_nothing_is_wider_than_the_screen(
    browser: Browser, site: Site, path: str
) -> None:
    order_id = await in_review(site)
    await site.reject(order_id, "looksodd" * 60)
    context = await browser.new_context(viewport={"width": 360, "height": 740})
    page = await context.new_page()
    await page.goto(site.url + path.format(order=order_id))
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await asyncio.sleep(1.5)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await context.close()


async def test_light_and_dark_follow_the_system_and_a_choice_is_kept(
    browser: Browser, site: Site
) -> None:
    context = await browser.new_context(color_scheme="dark")
    page = await context.new_page()
    await page.goto(site.url)
    body = page.locator("body")
    await expect(body).to_contain_class("body--dark")
    await page.get_by_role("button", name="Light or dark").click()
    await expect(body).to_contain_class("body--light")
    await page.reload()
    await expect(body).to_contain_class("body--light")
    await context.close()


async def test_an_unknown_order_is_said_to_be_unknown(page: Page, site: Site) -> None:
    await page.goto(f"{site.url}/orders/B-nobody")
    await expect(page.get_by_text("Order B-nobody is not known")).to_be_visible()


async def test_without_the_api_the_page_says_so_and_recovers_by_itself(
    page: Page, site: Site
) -> None:
    await page.goto(site.url)
    await expect(marked(page, "Open")).not_to_have_text("-")
    away = page.get_by_text("Buttons and order details do not work now")
    os.kill(site.api.pid, signal.SIGSTOP)
    try:
        await expect(away).to_be_visible()
        order_id = await site.start_order(dear=True)
        await expect(page.get_by_role("link", name=order_id)).to_be_visible()
    finally:
        os.kill(site.api.pid, signal.SIGCONT)
    await expect(away).to_have_count(0)


async def test_a_killed_board_serves_503_until_its_tables_are_complete_again(site: Site) -> None:
    codes: list[int] = []

    async def asked() -> list[int]:
        with contextlib.suppress(httpx.TransportError):
            answers = [await http.get(path) for path in ("/table/nobody", "/ready", "/figures")]
            codes.append(answers[-1].status_code)
            if codes[-1] == 503:  # then it was not complete when the others were asked, either
                assert [answer.status_code for answer in answers] == [503, 503, 503]
                assert all(answer.headers["retry-after"] for answer in answers)
        return codes

    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as http:
        os.kill(site.board.pid, signal.SIGKILL)  # the supervisor starts it again

        async def back() -> bool:
            return 503 in await asked() and codes[-1] == 200

        await until(back, every=0.02)
    assert codes.index(200) > codes.index(503)
