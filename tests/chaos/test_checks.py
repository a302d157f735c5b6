"""The checker is checked: evidence of a good run passes, and each broken promise is found."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.evidence import Entry, EventRow, Evidence, Record, Run
from tests.chaos.example import HOME, NOON, add, after, end_as, good, published
from tests.chaos.judge import judge
from tests.chaos.ledger import Expected, Story


def _refuse(evidence: Evidence, number: int) -> None:
    add(evidence, number, "order.command_rejected", {"type": "cancel", "reason": "r"})


def _expect(evidence: Evidence, expected: Expected) -> None:
    evidence.ledger.stories = [Story("any", "A", (), expected)]


def _receive_elsewhere(e: Evidence) -> None:
    e.events["A"][0] = replace(e.events["A"][0], data={"address": {"street": "2"}})


def _refuse_without_reason(e: Evidence) -> None:
    _refuse(e, 7)
    e.events["A"][6] = replace(e.events["A"][6], data={"command_type": "cancel", "reason": ""})


def _lose_the_command(e: Evidence) -> None:
    e.commands[0] = replace(e.commands[0], value=e.commands[0].value + b" ")


def _forget_the_outcome(e: Evidence) -> None:
    first = e.events["A"][0]
    e.events["A"][0] = EventRow("A", 1, first.type, None, first.data, first.at)


def _two_outcomes(e: Evidence) -> None:
    data = {"command_type": "start", "reason": "x"}
    e.events["A"].append(EventRow("A", 7, "order.command_rejected", "c1", data, after(7)))


def _bury_a_good_command(e: Evidence) -> None:
    letter = e.dead_letters[0]
    headers = {**letter.headers, "dlt.original.offset": "0"}
    e.dead_letters.append(Record("dlt", 0, 1, b"A", e.commands[0].value, headers, NOON))


def _change_the_letter(e: Evidence) -> None:
    e.dead_letters[0] = replace(e.dead_letters[0], value=b"other")


def _live_twice(e: Evidence) -> None:
    again = EventRow("A", 7, "order.received", None, {"address": HOME}, after(7))
    e.events["A"].append(again)


def _swap_on_the_topic(e: Evidence) -> None:
    e.published[2], e.published[3] = e.published[3], e.published[2]


def _publish_other_content(e: Evidence) -> None:
    e.published[1] = published(EventRow("A", 2, "order.validated", None, {}, after(2)), 1)


def _repeat_with_other_content(e: Evidence) -> None:
    changed = published(EventRow("A", 6, "order.shipped", None, {}, after(2)), 6)
    e.published.append(changed)


def _publish_from_nowhere(e: Evidence) -> None:
    e.published.append(published(EventRow("A", 7, "order.shipped", None, {}, NOON), 6))


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
    ("done as asked", _receive_elsewhere),
    ("done as asked", _refuse_without_reason),
    ("done as asked", lambda e: end_as(e, "cancelled")),
    ("done as asked", lambda e: _expect(e, "unshipped")),
    ("refused with need", lambda e: _refuse(e, 3)),
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
    ("all has settled", lambda e: end_as(e, "refunded")),
    ("all has settled", lambda e: setattr(e, "outbox", 1)),
    ("all has settled", lambda e: e.lag.update({0: 1})),
    ("money", lambda e: end_as(e, "cancelled")),
    ("money", _refund_as_well),
    ("money", _charge_twice),
    ("money", _charge_too_much),
    ("payments agree with the bank", lambda e: e.payments.clear()),
    ("payments agree with the bank", _refund_as_well),
    ("parcels", lambda e: end_as(e, "failed")),
    ("parcels", lambda e: e.books.pop()),
    ("parcels", _send_elsewhere),
    ("processes behave", lambda e: e.unexpected.append("worker-1: ended by itself 1 times")),
]


def test_a_good_run_breaks_no_promise() -> None:
    assert judge(good()) == []


def test_a_cancel_may_be_refused_once_the_shipment_is_prepared() -> None:
    evidence = good()
    _refuse(evidence, 5)
    assert judge(evidence) == []


def test_a_repeat_of_an_event_with_the_same_content_breaks_no_promise() -> None:
    evidence = good()
    evidence.published += evidence.published[4:]
    assert judge(evidence) == []


@pytest.mark.parametrize(("check", "breach"), BREACHES)
def test_a_broken_promise_is_found(check: str, breach: Callable[[Evidence], object]) -> None:
    evidence = copy.deepcopy(good())
    breach(evidence)
    assert check in {violation.check for violation in judge(evidence)}
