"""The fold: repeats are dropped, broken events disturb nothing, memory is bounded, and wherever
writing the rows is cut off, reading on from there leads to the same rows."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board.fold import Limits, View, Write
from board.record import Record
from board.rows import Row, decode, encode, key_of
from domain.states import State

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
ADDRESS = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
PAYMENT = {"payment_id": "p-1", "amount": 1500, "currency": "USD"}
ITEMS = [{"sku": "TEA", "quantity": 1, "unit_price": 1500}]
TIGHT = Limits(ended=2, open=3, minutes=2, broken=2)


def event(
    order_id: str, sequence: int, kind: str, seconds: float = 0.0, **data: Any
) -> dict[str, Any]:
    """Return one event as a mapping, with data that fits its kind."""
    at = START + timedelta(seconds=seconds)
    deadline = (at + timedelta(seconds=15)).isoformat()
    filled: dict[str, dict[str, Any]] = {
        "received": {"address": ADDRESS, "deadline": deadline},
        "validated": {"items": ITEMS, "amount": 1500, "currency": "USD"},
        "review_requested": {
            "reason": "over 500.00",
            "amount": 1500,
            "currency": "USD",
            "decide_by": (at + timedelta(hours=1)).isoformat(),
        },
        "approved": {"reviewed_by": "ann", "deadline": deadline},
        "payment_charged": PAYMENT,
        "shipped": {"tracking_number": "T-1"},
        "failed": {"reason": "out of time"},
        "cancelled": {"reason": "changed my mind", "cancelled_by": "ann"},
        "rejected": {"reason": "looks odd"},
        "command_rejected": {"command_type": "cancel", "reason": "too late"},
    }
    states = {"review_requested": "in_review", "payment_charged": "charged"}
    return {
        "type": f"order.{kind}",
        "order_id": order_id,
        "sequence": sequence,
        "at": at.isoformat(),
        "state": None if kind == "command_rejected" else states.get(kind, kind),
        "data": filled[kind] | data,
    }


def records(*events: dict[str, Any] | bytes) -> list[Record]:
    """Return the records of one partition; bytes stand for a broken one."""
    made = []
    for offset, item in enumerate(events):
        if isinstance(item, bytes):
            made.append(Record(3, offset, -1, b"A", item))
        else:
            key = item["order_id"].encode()
            made.append(Record(3, offset, -1, key, json.dumps(item).encode()))
    return made


def fold(items: Iterable[Record], limits: Limits | None = None) -> View:
    """Fold all records from the beginning."""
    view = View(3, limits or Limits())
    for record in items:
        view.apply(record)
    return view


def encoded(rows: Iterable[Row]) -> dict[bytes, bytes]:
    """Return rows as they stand in the table."""
    return {key_of(3, row): encode(row) for row in rows}


def apply_writes(table: dict[bytes, bytes], writes: Sequence[Write]) -> None:
    """Do to a dict what the tables do."""
    for key, row in writes:
        if row is None:
            table.pop(key, None)
        else:
            table[key] = encode(row)


def test_an_order_that_ships_counts_as_started_shipped_and_in_time() -> None:
    view = fold(
        records(
            event("A", 1, "received"),
            event("A", 2, "validated", 1),
            event("A", 3, "payment_charged", 2),
            event("A", 4, "shipped", 3),
        )
    )
    order = view.ended["A"]
    assert (order.state, order.in_time, order.amount, view.open) == (State.SHIPPED, True, 1500, {})
    (minute,) = view.minutes.values()
    assert (minute.started, minute.shipped, minute.in_time, minute.late) == (1, 1, 1, 0)
    assert sum(minute.times.values()) == 1


def test_an_order_that_fails_after_its_deadline_counts_as_late() -> None:
    view = fold(records(event("A", 1, "received"), event("A", 2, "failed", 16)))
    (minute,) = view.minutes.values()
    assert (minute.failed, minute.in_time, minute.late) == (1, 0, 1)
    assert view.ended["A"].reason == "out of time"


def test_time_in_review_is_not_time_to_ship_and_moves_the_deadline() -> None:
    view = fold(
        records(
            event("A", 1, "received"),
            event("A", 2, "review_requested", 1),
            event("A", 3, "approved", 1801),
            event("A", 4, "shipped", 1803),
        )
    )
    assert view.ended["A"].waited == 1_800_000
    assert view.ended["A"].in_time is True
    (step,) = (step for minute in view.minutes.values() for step in minute.times)
    assert 2.9 < 0.01 * 1.05**step < 3.1


def test_an_order_refused_in_review_is_in_time_because_its_clock_stood_still() -> None:
    view = fold(
        records(
            event("A", 1, "received"),
            event("A", 2, "review_requested", 1),
            event("A", 3, "rejected", 3000),
        )
    )
    assert view.ended["A"].in_time is True


def test_a_repeated_event_changes_nothing_but_the_count_of_repeats() -> None:
    begin = [event("A", 1, "received"), event("A", 2, "validated", 1)]
    once, again = fold(records(*begin)), fold(records(*begin, *begin))
    assert again.tally.repeats == 2
    assert encoded(again.open.values()) == encoded(once.open.values())
    assert encoded(again.minutes.values()) == encoded(once.minutes.values())


def test_a_gap_in_an_orders_numbers_is_counted_and_the_state_still_right() -> None:
    view = fold(records(event("A", 1, "received"), event("A", 4, "payment_charged", 2)))
    assert (view.open["A"].missing, view.open["A"].state) == (2, State.CHARGED)


def test_a_command_refused_before_the_order_exists_makes_no_order_and_no_gap() -> None:
    view = fold(records(event("A", 1, "command_rejected"), event("A", 2, "received")))
    assert (view.open["A"].sequence, view.open["A"].missing, view.tally.unknown) == (2, 0, 0)


def test_an_event_of_an_order_without_beginning_is_counted_and_makes_no_order() -> None:
    view = fold(records(event("A", 5, "payment_charged")))
    assert (view.find("A"), view.tally.unknown) == (None, 1)


def test_a_refused_command_after_the_end_leaves_the_end_as_it_was() -> None:
    story = [event("A", 1, "received"), event("A", 2, "shipped", 2)]
    late = event("A", 3, "command_rejected", 60, command_type="cancel")
    view = fold(records(*story, late))
    assert (view.ended["A"].state, view.ended["A"].sequence) == (State.SHIPPED, 3)
    assert sum(minute.shipped for minute in view.minutes.values()) == 1


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Record(3, 7, -1, b"A", None), "no value"),
        (Record(3, 7, -1, b"A", b"\xff{"), "JSON"),
        (Record(3, 7, -1, b"A", b'{"type":"order.vanished"}'), "order.vanished"),
        (Record(3, 7, -1, b"B", records(event("A", 1, "received"))[0].value), "key 'B'"),
        (Record(3, 7, -1, None, records(event("A", 1, "received"))[0].value), "key (none)"),
        (Record(3, 7, 0, b"A", records(event("A", 1, "received"))[0].value), "future"),
        (
            Record(3, 7, -1, b"A", json.dumps(event("A", 1, "received", extra=1)).encode()),
            "data.extra",
        ),
    ],
)
def test_a_broken_event_is_shown_with_its_offset_and_what_is_wrong(
    record: Record, text: str
) -> None:
    view = View(3)
    view.apply(record)
    (broken,) = view.broken.values()
    assert text in broken.error
    assert (broken.offset, view.tally.broken, view.open) == (7, 1, {})


def test_what_was_touched_longest_ago_is_forgotten_first() -> None:
    events = []
    for number in range(5):
        events += [event(f"E{number}", 1, "received"), event(f"E{number}", 2, "shipped", 1)]
    events += [event(f"O{number}", 1, "received", 300) for number in range(5)]
    view = fold(records(*events), TIGHT)
    assert (list(view.ended), list(view.open)) == (["E3", "E4"], ["O2", "O3", "O4"])


KINDS = (
    "received",
    "validated",
    "review_requested",
    "approved",
    "payment_charged",
    "shipped",
    "failed",
    "cancelled",
    "command_rejected",
)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from("ABCDEFG"),
            st.integers(1, 6),
            st.sampled_from(KINDS),
            st.integers(0, 400),
        ),
        st.just(b"{broken"),
    ),
    max_size=40,
)


def topic(steps: Sequence[tuple[str, int, str, int] | bytes]) -> list[Record]:
    """Any mess of events: out of order, repeated, with gaps, broken."""
    return records(*(step if isinstance(step, bytes) else event(*step) for step in steps))


@given(STEPS, st.data())
def test_cut_off_at_any_write_and_read_again_the_rows_are_the_same(
    steps: Sequence[tuple[str, int, str, int] | bytes], data: st.DataObject
) -> None:
    items = topic(steps)
    view = View(3, TIGHT)
    writes: list[tuple[bytes, bytes | None]] = []
    for record in items:
        writes += [(key, encode(row) if row else None) for key, row in view.apply(record)]
    whole = _play(writes)

    cut = data.draw(st.integers(0, len(writes)))
    table = _play(writes[:cut])
    restarted = View(3, TIGHT)
    restarted.restore([decode(key, value)[1] for key, value in table.items()])
    back = data.draw(st.integers(0, restarted.position + 1))
    for record in items[back:]:
        apply_writes(table, restarted.apply(record))

    assert table == whole
    assert encoded(restarted.rows()) == encoded(view.rows())


def _play(writes: Iterable[tuple[bytes, bytes | None]]) -> dict[bytes, bytes]:
    table: dict[bytes, bytes] = {}
    for key, value in writes:
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return table


@given(STEPS)
def test_memory_is_bounded_whatever_comes(
    steps: Sequence[tuple[str, int, str, int] | bytes],
) -> None:
    view = fold(topic(steps), TIGHT)
    assert len(view.ended) <= TIGHT.ended
    assert len(view.open) <= TIGHT.open
    assert len(view.minutes) <= TIGHT.minutes
    assert len(view.broken) <= TIGHT.broken


@given(STEPS, st.integers(0, 39))
def test_repeats_and_broken_events_leave_orders_and_minutes_as_they_were(
    steps: Sequence[tuple[str, int, str, int] | bytes], at: int
) -> None:
    """Insert a broken record and a repeat of each order's newest event somewhere."""
    clean = [step for step in steps if not isinstance(step, bytes)]
    plain = fold(topic(clean))
    view = View(3)
    offset = 0
    for number, record in enumerate(topic(clean)):
        inserted = [record, record] if number == at else [record]
        if number == at:
            inserted.insert(1, Record(3, 0, -1, b"x", b"nonsense"))
        for item in inserted:
            view.apply(Record(3, offset, item.timestamp, item.key, item.value))
            offset += 1
    assert _without_offsets(view) == _without_offsets(plain)


def _without_offsets(view: View) -> list[object]:
    orders = {**view.open, **view.ended}
    return [
        {name: (order.state, order.sequence, order.in_time) for name, order in orders.items()},
        {
            number: (m.started, m.shipped, m.failed, m.cancelled, m.in_time, m.late, m.times)
            for number, m in view.minutes.items()
        },
    ]
