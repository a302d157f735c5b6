"""The figures: added up over partitions, quantiles near the exact ones, lists that fit."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from board.durations import quantile, step_of
from board.figures import Selection, figures, select
from board.fold import View
from board.pages import texts
from board.pages.actions import minor_units
from board.pages.order import _settled
from board.record import Record
from board.rest import ApiError
from domain.states import State
from tests.unit.board.test_fold import START, event, records


def ms(seconds: float) -> int:
    """Return a moment in ms since 1970, so many seconds after the first event."""
    return round((START + timedelta(seconds=seconds)).timestamp() * 1000)


def two_partitions() -> list[View]:
    """One partition with an order shipped in time and one in review, one with one that is late."""
    first, second = View(0), View(1)
    for record in records(
        event("A", 1, "received"),
        event("A", 2, "shipped", 2),
        event("B", 1, "received", 1),
        event("B", 2, "review_requested", 2),
    ):
        first.apply(Record(0, record.offset, -1, record.key, record.value))
    for record in records(
        event("C", 1, "received", 1),
        event("D", 1, "received", 3),
        event("D", 2, "failed", 30),
    ):
        second.apply(Record(1, record.offset, -1, record.key, record.value))
    return [first, second]


def test_partitions_are_added_up() -> None:
    found = figures(two_partitions(), ms(40))
    assert (found.open, found.waiting, found.past, found.near) == (2, 1, 1, 0)
    assert found.by_state == {State.IN_REVIEW: 1, State.RECEIVED: 1}
    hour = found.hour
    assert (hour.started, hour.shipped, hour.failed, hour.in_time_share) == (4, 1, 1, 0.5)
    assert hour.p50 == pytest.approx(2, rel=0.026)
    last = found.minutes[-1]
    assert (last.started, last.shipped, last.failed, last.in_time_share) == (4, 1, 1, 0.5)
    assert last.p95 == hour.p95
    assert found.minutes[-2].p50 is None


def test_a_deadline_is_near_for_its_last_five_seconds() -> None:
    views = two_partitions()
    assert [figures(views, ms(t)).near for t in (10.9, 11.1, 15.9, 16.1)] == [0, 1, 1, 0]


def test_what_ended_over_an_hour_ago_is_in_no_figure() -> None:
    hour = figures(two_partitions(), ms(61 * 60)).hour
    assert (hour.started, hour.shipped, hour.in_time_share, hour.p50) == (0, 0, None, None)


def test_the_list_is_searched_filtered_sorted_and_cut_into_pages() -> None:
    views, now = two_partitions(), ms(40)

    def ids(**wanted: object) -> list[str]:
        orders, _ = select(views, Selection(**wanted), now)  # type: ignore[arg-type]
        return [order.order_id for order in orders]

    assert ids(state="all", sort="order_id", descending=False) == ["A", "B", "C", "D"]
    assert ids(state="all", sort="order_id", first=1, count=2) == ["C", "B"]
    assert ids(state="open", sort="started", descending=False) == ["B", "C"]
    assert ids(state="in_review") == ["B"]
    assert ids(state="failed") == ["D"]
    assert ids(state="past") == ["C"]
    assert ids(state="all", search="d") == ["D"]
    assert select(views, Selection(state="all", count=1), now)[1] == 4


@given(
    st.lists(st.integers(10, 3_600_000), min_size=1, max_size=200),
    st.sampled_from([0.5, 0.95, 1.0]),
)
def test_a_quantile_is_within_2_5_percent_of_the_exact_one(times: list[int], share: float) -> None:
    counts: dict[int, int] = {}
    for time in times:
        counts[step_of(time)] = counts.get(step_of(time), 0) + 1
    exact = sorted(times)[math.ceil(share * len(times)) - 1] / 1000
    assert quantile(counts, share) == pytest.approx(exact, rel=0.026)


@pytest.mark.parametrize(
    ("first", "total", "shown"), [(50, 60, 50), (50, 50, 25), (50, 26, 25), (25, 25, 0), (25, 0, 0)]
)
def test_a_page_that_is_no_more_becomes_the_last_one(first: int, total: int, shown: int) -> None:
    assert Selection(first=first).within(total) == Selection(first=shown)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0.0 s"),
        (40, "40 ms"),
        (3_240, "3.2 s"),
        (59_999, "59 s"),
        (245_000, "4 min 5 s"),
        (-7_400_000, "-2 h 3 min"),
        (183_600_000, "2 d 3 h"),
    ],
)
def test_spans_are_told_with_two_units(milliseconds: int, text: str) -> None:
    assert texts.span(milliseconds) == text


def test_only_all_is_told_as_100_percent() -> None:
    assert [texts.share(x) for x in (1.0, 0.9999, 0.5, None)] == ["100 %", "99.9 %", "50.0 %", "-"]


@pytest.mark.parametrize(
    ("text", "amount"), [("19.99", 1999), ("19.9", 1990), ("500", 50_000), ("0.05", 5)]
)
def test_a_price_is_turned_into_minor_units_exactly(text: str, amount: int) -> None:
    assert minor_units(text) == amount


@pytest.mark.parametrize("text", ["", "-1", "1.999", "1,50", "1e3", "ten", "٣"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="not an amount"):
        minor_units(text)


def test_moments_are_written_in_utc() -> None:
    at = datetime(2026, 1, 1, 23, 59, 1, tzinfo=UTC)
    assert texts.clock(round(at.timestamp() * 1000)) == "23:59:01"


def test_an_ended_order_is_asked_for_until_its_history_has_the_end_too() -> None:
    ended = {"state": "shipped", "seconds_left": None, "events": 6}

    def history(last: int) -> dict[str, object]:
        return {"events": [{"sequence": n} for n in range(1, last + 1)], "next": None}

    assert not _settled((ended, history(4)), ended)
    assert _settled((ended, history(6)), ended)
    assert not _settled((ended, history(6)), {**ended, "events": 7})
    running = {**ended, "state": "charged", "seconds_left": 3.0}
    assert not _settled((running, history(6)), running)
