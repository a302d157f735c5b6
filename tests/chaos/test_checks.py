"""The checker is checked: evidence of a good run passes, and each broken promise is found."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.evidence import Entry, EventRow, Evidence, Fault, OrderRow, Record, Run
from tests.chaos.example import HOME, NOON, add, after, end_as, good, publish_all, published
from tests.chaos.judge import judge
from tests.chaos.ledger import Acknowledged, Expected, Story

NOTHING = {
    "address": HOME,
    "items": None,
    "amount": None,
    "currency": None,
    "reason": None,
    "payment_id": None,
    "shipment_id": None,
    "tracking_number": None,
}
"""The columns of an order that has been received."""


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


def _post(e: Evidence, command_id: str = "c1", street: str = "1 Main St") -> None:
    """Let the start have come by the API, and say this."""
    body = {**json.loads(e.commands[0].value), "initial_address": {**HOME, "street": street}}
    message = replace(e.ledger.acknowledged[0].message, via="rest", value=json.dumps(body).encode())
    e.ledger.acknowledged[0] = Acknowledged(message, 0, command_id=command_id)


def _command_of_nobody(e: Evidence) -> None:
    """One more address change than was sent, carried out as it says."""
    _refuse(e, 7)
    del e.ledger.acknowledged[-1]


def _scatter(e: Evidence) -> None:
    e.published[3:] = [replace(record, partition=1) for record in e.published[3:]]


def _tell_another(e: Evidence, field: str, value: object) -> None:
    body = json.loads(e.published[2].value)
    e.published[2] = replace(e.published[2], value=json.dumps({**body, field: value}).encode())


def _leave_out(e: Evidence, number: int) -> None:
    """Skip a step, in row, events and topic alike."""
    del e.events["A"][number - 1]
    e.events["A"] = [replace(event, sequence=n) for n, event in enumerate(e.events["A"], 1)]
    e.orders["A"].others["sequence"] = 5
    publish_all(e)


def _reject_without_cause(e: Evidence) -> None:
    """Before anything was charged."""
    end_as(e, "rejected")
    e.books, e.payments = [], []
    received, *_, rejected = e.events["A"]
    e.events["A"] = [received, replace(rejected, sequence=2)]
    e.orders["A"] = OrderRow("A", "rejected", after(15), {**NOTHING, "reason": "x", "sequence": 2})
    publish_all(e)


def _refuse_early(e: Evidence, seconds: float) -> None:
    _refuse(e, 2)
    received, refused, *others = e.events["A"]
    refused = replace(refused, sequence=1, at=after(seconds))
    e.events["A"] = [refused, replace(received, sequence=2, at=after(seconds)), *others]
    publish_all(e)


def _refuse_in_review(e: Evidence, seconds: float) -> None:
    """Ask a person for ten seconds, refuse the decision then, and reject for want of it."""
    _reject_without_cause(e)
    add(e, 2, "order.command_rejected", {"type": "approve", "reviewed_by": "x"})
    received, refused, rejected = e.events["A"]
    data = {"decide_by": "2030-01-01T12:00:10Z", "reason": "dear"}
    asked = EventRow("A", 2, "order.review_requested", None, data, after(2))
    refused = replace(refused, sequence=3, at=after(seconds))
    e.events["A"] = [received, asked, refused, replace(rejected, sequence=4, at=after(11))]
    e.orders["A"].others["sequence"] = 4
    publish_all(e)


def _turn_away(e: Evidence) -> None:
    message = e.ledger.acknowledged[0].message
    e.ledger.turned_away.append((message, "422 no such field"))


def _give_more_time(e: Evidence) -> None:
    e.orders["A"] = replace(e.orders["A"], deadline=after(99))


def _write_another_amount(e: Evidence) -> None:
    e.payments[0] = replace(e.payments[0], amount=1)


def _bury_again_and_again(e: Evidence) -> None:
    e.dead_letters *= 2  # without a fault there is no reason to


BREACHES: list[tuple[str, Callable[[Evidence], object]]] = [
    ("acknowledged is on the topic", _lose_the_command),
    ("acknowledged is on the topic", lambda e: _post(e, command_id="c0")),
    ("acknowledged is on the topic", lambda e: _post(e, street="2 Main St")),
    ("only what was sent", _command_of_nobody),
    ("only what was sent", _turn_away),
    ("exactly one outcome", _bury_again_and_again),
    ("exactly one outcome", _forget_the_outcome),
    ("exactly one outcome", _two_outcomes),
    ("exactly one outcome", lambda e: e.dead_letters.clear()),
    ("exactly one outcome", _bury_a_good_command),
    ("done as asked", _receive_elsewhere),
    ("done as asked", _refuse_without_reason),
    ("done as asked", lambda e: end_as(e, "cancelled")),
    ("done as asked", lambda e: _expect(e, "unshipped")),
    ("done as asked", _reject_without_cause),
    ("refused with need", lambda e: _refuse(e, 3)),
    ("refused with need", lambda e: _refuse_early(e, 5)),
    ("refused with need", lambda e: _refuse_in_review(e, 9)),
    ("dead letters are verbatim", _change_the_letter),
    ("one life", _live_twice),
    ("one life", lambda e: e.events.clear()),
    ("events without gap", lambda e: e.events["A"].pop(2)),
    ("events without gap", _live_twice),
    ("no step left out", lambda e: _leave_out(e, 2)),
    ("no step left out", lambda e: _leave_out(e, 5)),
    ("topic is the table", _scatter),
    ("topic is the table", lambda e: _tell_another(e, "state", "received")),
    ("topic is the table", lambda e: _tell_another(e, "at", NOON.isoformat())),
    ("topic is the table", lambda e: e.published.extend(e.published[4:] * 15)),
    ("topic is the table", lambda e: e.published.pop(2)),
    ("topic is the table", lambda e: e.published.pop()),
    ("topic is the table", _swap_on_the_topic),
    ("topic is the table", _publish_other_content),
    ("topic is the table", _repeat_with_other_content),
    ("topic is the table", _publish_from_nowhere),
    ("row is the fold", lambda e: e.orders.clear()),
    ("row is the fold", lambda e: e.orders["A"].others.update(amount=1)),
    ("row is the fold", lambda e: e.orders["A"].others.update(reason="x")),
    ("row is the fold", _give_more_time),
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
    ("payments agree with the bank", lambda e: e.payments.insert(0, replace(e.payments[0]))),
    ("payments agree with the bank", _write_another_amount),
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


def test_what_came_by_the_api_is_on_the_topic_as_it_was_posted() -> None:
    evidence = good()
    _post(evidence)
    assert judge(evidence) == []


def test_a_command_may_be_refused_once_its_time_is_over() -> None:
    evidence = good()
    _refuse_early(evidence, 6)
    assert judge(evidence) == []
    evidence = good()
    _refuse_in_review(evidence, 10)
    assert judge(evidence) == []


def test_a_dead_letter_may_be_written_again_after_a_fault() -> None:
    evidence = good()
    _bury_again_and_again(evidence)
    evidence.faults = [Fault("kill ingest", "killed", "ingest-1", "process", NOON, NOON)]
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
