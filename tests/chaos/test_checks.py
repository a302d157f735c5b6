"""The checker is checked: evidence of a good run passes, and each broken promise is found."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.evidence import Entry, EventRow, Evidence, Fault, OrderRow, PaymentRow, Record, Run
from tests.chaos.judge import judge
from tests.chaos.ledger import Acknowledged, Message, Story

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOME = {"street": "1 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
ITEMS = [{"sku": "S", "quantity": 1, "unit_price": 500}]

SHIPPED: list[tuple[str, dict[str, Any]]] = [
    ("order.received", {"address": HOME}),
    ("order.validated", {"items": ITEMS, "amount": 500, "currency": "EUR"}),
    ("order.payment_charged", {"payment_id": "P-A", "amount": 500, "currency": "EUR"}),
    ("order.shipment_prepared", {"shipment_id": "A-1", "address": HOME}),
    ("order.dispatched", {"shipment_id": "A-1", "tracking_number": "T"}),
    ("order.shipped", {"tracking_number": "T"}),
]


_TYPES = {"refunded": "order.payment_refunded"}


def _after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def _published(event: EventRow, offset: int) -> Record:
    body = {
        "type": event.type,
        "order_id": event.order_id,
        "sequence": event.sequence,
        "data": event.data,
    }
    if event.command_id:
        body["command_id"] = event.command_id
    headers = {"ce_id": f"{event.order_id}-{event.sequence}", "ce_type": event.type}
    value = json.dumps(body).encode()
    return Record("events", 0, offset, event.order_id.encode(), value, headers)


def good() -> Evidence:
    """Return what is left of one shipped order and one poison record."""
    start = json.dumps({"type": "start", "order_id": "A", "command_id": "c1"}).encode()
    sent = [
        Message("start", "A", "c1", start, b"A"),
        Message("poison", "P", None, b"poison", None),
    ]
    evidence = Evidence()
    evidence.ledger.stories = [Story("plain", "A", ((0, sent[0]),), "shipped")]
    for offset, message in enumerate(sent):
        evidence.commands.append(Record("commands", 0, offset, message.key, message.value, {}))
        evidence.ledger.acknowledged.append(Acknowledged(message, 0, 0, offset))
    origin = {"dlt.original.topic": "commands", "dlt.original.partition": "0"}
    headers = {**origin, "dlt.original.offset": "1", "dlt.error.message": "not JSON"}
    evidence.dead_letters = [Record("dlt", 0, 0, None, b"poison", headers)]
    events = [
        EventRow("A", number, kind, "c1" if number == 1 else None, data, _after(number))
        for number, (kind, data) in enumerate(SHIPPED, 1)
    ]
    evidence.events = {"A": events}
    evidence.published = [_published(event, n) for n, event in enumerate(events)]
    others = {"address": HOME, "items": ITEMS, "amount": 500, "currency": "EUR", "sequence": 6}
    others |= {"payment_id": "P-A", "shipment_id": "A-1", "tracking_number": "T"}
    evidence.orders = {"A": OrderRow("A", "shipped", _after(15), others)}
    evidence.payments = [PaymentRow("P-A", "A", "charged", 500, "EUR")]
    money = {"amount": 500, "currency": "EUR"}
    evidence.books = [
        Entry("A:charge", "charge", "A", money, NOON),
        Entry("A:dispatch", "dispatch", "A", {"address": HOME}, NOON),
    ]
    evidence.runs = {"A": Run("COMPLETED", "shipped")}
    evidence.lag = {0: 0}
    return evidence


def _end_as(evidence: Evidence, state: str, seconds: float = 6) -> None:
    kind = _TYPES.get(state, f"order.{state}")
    end = EventRow("A", 6, kind, None, {"reason": "x"}, _after(seconds))
    evidence.events["A"][5] = end
    evidence.published[5] = _published(end, 5)
    evidence.orders["A"] = OrderRow("A", state, _after(15), evidence.orders["A"].others)
    evidence.runs["A"] = Run("COMPLETED", state)


def _lose_the_command(e: Evidence) -> None:
    e.commands[0] = Record("commands", 0, 0, b"A", e.commands[0].value + b" ", {})


def _forget_the_outcome(e: Evidence) -> None:
    first = e.events["A"][0]
    e.events["A"][0] = EventRow("A", 1, first.type, None, first.data, first.at)


def _two_outcomes(e: Evidence) -> None:
    data = {"command_type": "start", "reason": "x"}
    e.events["A"].append(EventRow("A", 7, "order.command_rejected", "c1", data, _after(7)))


def _bury_a_good_command(e: Evidence) -> None:
    letter = e.dead_letters[0]
    headers = {**letter.headers, "dlt.original.offset": "0"}
    e.dead_letters.append(Record("dlt", 0, 1, b"A", e.commands[0].value, headers))


def _change_the_letter(e: Evidence) -> None:
    e.dead_letters[0] = Record("dlt", 0, 0, None, b"other", e.dead_letters[0].headers)


def _live_twice(e: Evidence) -> None:
    again = EventRow("A", 7, "order.received", None, {"address": HOME}, _after(7))
    e.events["A"].append(again)


def _swap_on_the_topic(e: Evidence) -> None:
    e.published[2], e.published[3] = e.published[3], e.published[2]


def _publish_other_content(e: Evidence) -> None:
    e.published[1] = _published(EventRow("A", 2, "order.validated", None, {}, _after(2)), 1)


def _repeat_with_other_content(e: Evidence) -> None:
    changed = _published(EventRow("A", 6, "order.shipped", None, {}, _after(2)), 6)
    e.published.append(changed)


def _publish_from_nowhere(e: Evidence) -> None:
    e.published.append(_published(EventRow("A", 7, "order.shipped", None, {}, NOON), 6))


def _refund_as_well(e: Evidence) -> None:
    e.books.append(Entry("r", "refund", "A", {"amount": 500, "currency": "EUR"}, NOON))


def _charge_twice(e: Evidence) -> None:
    e.books.append(Entry("A:2", "charge", "A", {"amount": 500, "currency": "EUR"}, NOON))


def _charge_too_much(e: Evidence) -> None:
    e.books[0] = Entry("A:charge", "charge", "A", {"amount": 501, "currency": "EUR"}, NOON)


def _send_elsewhere(e: Evidence) -> None:
    e.books[1] = Entry("A:dispatch", "dispatch", "A", {"address": {}}, NOON)


BREACHES: list[tuple[str, Callable[[Evidence], object]]] = [
    ("acknowledged is on the topic", _lose_the_command),
    ("exactly one outcome", _forget_the_outcome),
    ("exactly one outcome", _two_outcomes),
    ("exactly one outcome", lambda e: e.dead_letters.clear()),
    ("exactly one outcome", _bury_a_good_command),
    ("dead letters are verbatim", _change_the_letter),
    ("one life", _live_twice),
    ("one life", lambda e: e.events.clear()),
    ("events without gap", lambda e: e.events["A"].pop(2)),
    ("events without gap", _live_twice),
    ("topic is the table", lambda e: e.published.pop(2)),
    ("topic is the table", lambda e: e.published.pop()),
    ("topic is the table", _swap_on_the_topic),
    ("topic is the table", _publish_other_content),
    ("topic is the table", _repeat_with_other_content),
    ("topic is the table", _publish_from_nowhere),
    ("row is the fold", lambda e: e.orders.clear()),
    ("row is the fold", lambda e: e.orders["A"].others.update(amount=1)),
    ("workflow agrees", lambda e: e.runs.clear()),
    ("workflow agrees", lambda e: e.runs.update(A=Run("COMPLETED", "failed"))),
    ("workflow agrees", lambda e: e.runs.update(B=Run("RUNNING", None))),
    ("all has settled", lambda e: _end_as(e, "refunded")),
    ("all has settled", lambda e: setattr(e, "outbox", 1)),
    ("all has settled", lambda e: e.lag.update({0: 1})),
    ("money", lambda e: _end_as(e, "cancelled")),
    ("money", _refund_as_well),
    ("money", _charge_twice),
    ("money", _charge_too_much),
    ("payments agree with the bank", lambda e: e.payments.clear()),
    ("payments agree with the bank", _refund_as_well),
    ("parcels", lambda e: _end_as(e, "failed")),
    ("parcels", lambda e: e.books.pop()),
    ("parcels", _send_elsewhere),
    ("processes behave", lambda e: e.unexpected.append("worker-1: ended by itself 1 times")),
]


def test_a_good_run_breaks_no_promise() -> None:
    assert judge(good()) == []


def test_a_repeat_of_an_event_with_the_same_content_breaks_no_promise() -> None:
    evidence = good()
    evidence.published += evidence.published[4:]
    assert judge(evidence) == []


@pytest.mark.parametrize(("check", "breach"), BREACHES)
def test_a_broken_promise_is_found(check: str, breach: Callable[[Evidence], object]) -> None:
    evidence = copy.deepcopy(good())
    breach(evidence)
    assert check in {violation.check for violation in judge(evidence)}


@pytest.mark.parametrize(
    ("faults", "broken"),
    [
        ([], True),
        ([Fault("kill worker", "worker-1", "process", _after(-9), _after(-1))], True),
        ([Fault("kill kafka", "kafka", "outage", _after(-9), _after(-8))], False),
        ([Fault("kill kafka", "kafka", "outage", _after(-90), _after(-80))], True),
    ],
)
@pytest.mark.parametrize("how", ["late", "failed"])
def test_orders_may_miss_their_deadline_only_in_an_outage(
    faults: list[Fault], broken: bool, how: str
) -> None:
    evidence = good()
    for order_id in ("B", "C"):  # one miss is tolerated
        evidence.orders[order_id] = evidence.orders["A"]
        evidence.events[order_id] = evidence.events["A"]
        evidence.ledger.stories.append(Story("plain", order_id, (), "shipped"))
    if how == "late":
        _end_as(evidence, "shipped", seconds=16)
    else:
        _end_as(evidence, "failed")
    for order_id in ("B", "C"):
        evidence.orders[order_id] = evidence.orders["A"]
    evidence.faults = faults
    assert ("in time" in {violation.check for violation in judge(evidence)}) is broken
