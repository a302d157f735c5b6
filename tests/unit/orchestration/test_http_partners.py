"""The HTTP contract of docs/partners.md: what an answer is taken for, and both sides of it."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from domain.errors import Declined, PartnerUnavailable
from domain.events import Failed
from domain.model import ITEMS_MAX, TEXT_MAX, Item
from orchestration import gateways
from orchestration.gateways import Gateways
from orchestration.gateways.carrier import HttpCarrier, Pickup
from orchestration.gateways.http_partner import ANSWER_MAX
from orchestration.gateways.payments import Charge, HttpPayments
from orchestration.gateways.sales import Basket, HttpSales
from orchestration.gateways.screening import HttpScreening
from orchestration.gateways.server import create_app
from orchestration.gateways.warehouse import HttpWarehouse
from tests.unit.orchestration.orders import HOME

PROBLEM = {"content-type": "application/problem+json"}
NO_SUCH_THING = b'{"title": "No", "detail": "not with us"}'
WORTH = 500


def _bank(answer: httpx.Response | httpx.HTTPError) -> HttpPayments:
    def respond(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    client = httpx.AsyncClient(transport=httpx.MockTransport(respond))
    return HttpPayments(client, "http://bank.test")


@pytest.mark.parametrize("status", [400, 402, 404, 410, 422])
async def test_a_no_is_a_4xx_with_a_problem(status: int) -> None:
    bank = _bank(httpx.Response(status, headers=PROBLEM, content=NO_SUCH_THING))
    with pytest.raises(Declined, match="not with us"):
        await bank.charge("A:charge", "A", WORTH, "USD")


@pytest.mark.parametrize(
    "answer",
    [
        *(
            httpx.Response(status, headers=PROBLEM, content=NO_SUCH_THING)
            for status in (302, 401, 403, 407, 408, 409, 425, 429, 500, 502, 503, 504)
        ),
        httpx.Response(404, text="nginx"),
        httpx.Response(422, json={"detail": "no problem+json"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut off"),
    ],
    ids=lambda answer: str(getattr(answer, "status_code", type(answer).__name__)),
)
async def test_all_else_says_nothing_about_the_outcome(
    answer: httpx.Response | httpx.HTTPError,
) -> None:
    with pytest.raises(PartnerUnavailable):
        await _bank(answer).charge("A:charge", "A", WORTH, "USD")


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"amount": "5", "currency": "USD"}'])
async def test_an_answer_that_cannot_be_read_says_nothing_either(content: bytes) -> None:
    with pytest.raises(PartnerUnavailable):
        await _bank(httpx.Response(200, content=content)).find("A:charge")


@pytest.mark.parametrize("status", [200, 422, 502])
async def test_of_an_answer_that_is_too_long_no_more_is_read_than_the_bound(status: int) -> None:
    part, sent = b" " * 65_536, 0

    async def answers() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += len(part)
            yield part

    bank = _bank(httpx.Response(status, headers=PROBLEM, content=answers()))
    with pytest.raises(PartnerUnavailable, match="an answer of more than 2,097,152 bytes"):
        await bank.charge("A:charge", "A", WORTH, "USD")
    assert sent <= ANSWER_MAX + len(part)


async def test_the_longest_basket_of_the_contract_can_be_read() -> None:
    items = tuple(
        Item(sku="\U0001f4e6" * TEXT_MAX, quantity=10_000, unit_price=1) for _ in range(ITEMS_MAX)
    )
    basket = Basket(items=items, currency="USD")
    content = json.dumps(basket.model_dump()).encode()
    assert len(content) > ANSWER_MAX / 2
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    async with httpx.AsyncClient(transport=transport) as client:
        assert await HttpSales(client, "http://sales").receive("A:receive", "A") == basket


async def test_a_compressed_answer_is_neither_asked_for_nor_unpacked() -> None:
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return httpx.Response(200, headers={"content-encoding": "gzip"}, content=unread())

    async def unread() -> AsyncIterator[bytes]:
        yield b"no gzip"

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as client:
        with pytest.raises(PartnerUnavailable, match="an answer in gzip"):
            await HttpPayments(client, "http://bank.test").find("A:charge")
    assert asked == ["identity"]


async def test_only_a_204_says_that_nothing_stands_any_more() -> None:
    assert await _bank(httpx.Response(204)).void("A:charge", "A") is None
    with pytest.raises(PartnerUnavailable):
        await _bank(httpx.Response(200)).void("A:charge", "A")
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    with pytest.raises(PartnerUnavailable):
        await HttpCarrier(httpx.AsyncClient(transport=transport), "http://c").withdraw("k", "A")


@pytest.mark.parametrize("status", [422, 503])
@pytest.mark.parametrize(
    "content",
    [
        b'{"detail": "two\\r\\nlines, \\u0000 and \\ud800"}',
        b'{"detail": "  "}',
        b'{"title": null}',
        b'["no"]',
        b"[" * 100_000,
    ],
    ids=["control", "blank", "null", "list", "deep"],
)
async def test_whatever_a_partner_says_makes_a_reason(content: bytes, status: int) -> None:
    bank = _bank(httpx.Response(status, headers=PROBLEM, content=content))
    with pytest.raises((Declined, PartnerUnavailable)) as told:
        await bank.charge("A:charge", "A", WORTH, "USD")
    reason = str(told.value)
    assert Failed(reason=reason).reason == reason
    assert reason.encode()


async def test_a_charge_is_unknown_only_where_the_bank_says_so() -> None:
    said = httpx.Response(404, headers=PROBLEM, content=NO_SUCH_THING)
    assert await _bank(said).find("A:charge") is None
    with pytest.raises(PartnerUnavailable):
        await _bank(httpx.Response(404, text="nginx")).find("A:charge")


async def test_every_change_carries_its_key() -> None:
    seen: dict[str, str | None] = {}

    def respond(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            seen[request.url.path] = request.headers.get("idempotency-key")
        return httpx.Response(200, json={"tracking_number": "T", "amount": 1, "currency": "USD"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as client:
        item = Item(sku="S", quantity=1, unit_price=1)
        bank, carrier = HttpPayments(client, "http://p"), HttpCarrier(client, "http://p")
        await HttpSales(client, "http://p").confirm_shipped("k1", "A", "T")
        await HttpScreening(client, "http://p").validate("k2", "A", (item,), HOME)
        await bank.charge("k3", "A", WORTH, "USD")
        await bank.refund("k4", "k3", "A", "why")
        await bank.void("k3", "A")
        await HttpWarehouse(client, "http://p").prepare("k5", "A", "A-1", (item,), HOME)
        await carrier.dispatch("k6", "A", "A-1", HOME)
        await carrier.withdraw("k6", "A")
    assert seen == {
        "/orders/A/shipped": "k1",
        "/screenings": "k2",
        "/charges": "k3",
        "/charges/k3/refund": "k4",
        "/charges/k3/void": "k3:void",
        "/shipments": "k5",
        "/pickups": "k6",
        "/pickups/k6/withdraw": "k6:withdraw",
    }


@pytest.fixture
async def partners(db_url: str) -> AsyncIterator[Gateways]:
    """The adapters on one side of the contract, the simulator on the other."""
    async with gateways.simulated(db_url, gateways.Faults.NONE, seed=0) as simulated:
        transport = httpx.ASGITransport(create_app(simulated))
        async with httpx.AsyncClient(transport=transport) as client:
            yield Gateways(
                sales=HttpSales(client, "http://sales"),
                screening=HttpScreening(client, "http://screening"),
                payments=HttpPayments(client, "http://bank"),
                warehouse=HttpWarehouse(client, "http://warehouse"),
                carrier=HttpCarrier(client, "http://carrier"),
            )


async def test_both_sides_of_the_contract_fit(partners: Gateways) -> None:
    basket = await partners.sales.receive("A:receive", "A")
    await partners.screening.validate("A:validate", "A", basket.items, HOME)
    await partners.payments.charge("A:charge", "A", WORTH, "USD")
    await partners.payments.charge("A:charge", "A", WORTH, "USD")
    charge = Charge(amount=WORTH, currency="USD")
    assert await partners.payments.find("A:charge") == charge
    assert await partners.payments.void("A:charge", "A") == charge
    await partners.payments.refund("A:refund", "A:charge", "A", "why")
    await partners.warehouse.prepare("A:prepare", "A", "A-1", basket.items, HOME)
    pickup = await partners.carrier.dispatch("A:dispatch", "A", "A-1", HOME)
    assert await partners.carrier.withdraw("A:dispatch", "A") == pickup
    await partners.sales.confirm_shipped("A:confirm", "A", pickup.tracking_number)
    assert pickup == Pickup(tracking_number="TRK-A-1")


async def test_what_is_closed_stays_closed(partners: Gateways) -> None:
    assert await partners.payments.find("A:charge") is None
    assert await partners.payments.void("A:charge", "A") is None
    with pytest.raises(Declined, match="voided"):
        await partners.payments.charge("A:charge", "A", WORTH, "USD")
    assert await partners.carrier.withdraw("A:dispatch", "A") is None
    with pytest.raises(Declined, match="withdrawn"):
        await partners.carrier.dispatch("A:dispatch", "A", "A-1", HOME)
    unknown = Item(sku="UNKNOWN", quantity=1, unit_price=1)
    with pytest.raises(Declined, match="nobody sells"):
        await partners.screening.validate("A:validate", "A", (unknown,), HOME)
