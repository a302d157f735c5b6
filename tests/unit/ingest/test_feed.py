"""The feed of events as a new API process has it."""

import asyncio

import pytest

from ingest.api.feed import Feed, Position
from tests.unit.ingest.records import FakeRecord, record


def event(offset: int) -> FakeRecord:
    found = record({"order_id": "A-1", "sequence": offset})
    found.partition, found.offset = 0, offset
    return found


def sequences(feed: Feed, position: dict[int, int]) -> list[int]:
    return [event["sequence"] for event in feed.after(position, None, 10)]


def test_who_watched_through_another_process_misses_nothing() -> None:
    feed, position = Feed(), {0: 6}
    feed.begins({0: 5}, {0: 8})

    for offset in (5, 6):
        feed.event(event(offset))
    assert sequences(feed, position) == [6]
    for offset in (7, 8):
        feed.event(event(offset))
    assert sequences(feed, position) == [7, 8]


def test_who_comes_while_the_last_events_are_read_again_is_told_none_of_them() -> None:
    feed = Feed()
    feed.begins({0: 5}, {0: 8})
    feed.event(event(5))
    position = feed.end

    for offset in (6, 7, 8):
        feed.event(event(offset))

    assert sequences(feed, position) == [8]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"[]",
        b'"text"',
        b"{}",
        b'{"order_id": [], "sequence": 1}',
        b'{"order_id": "A-1", "sequence": {}}',
        b'{"order_id": "A-1", "sequence": NaN}',
        b'{"order_id": "A-2", "sequence": 7, "data": "\\ud800"}',
        b'{"order_id": "A-2", "sequence": 1, "data": ' + b"[" * 100_000,
    ],
)
def test_what_others_put_on_the_topic_is_passed_over(value: bytes) -> None:
    feed, odd = Feed(), event(0)
    odd.value = value
    feed.begins({0: 0}, {0: 0})

    feed.event(odd)
    feed.event(event(1))

    assert sequences(feed, {0: 0}) == [1]


async def test_who_comes_before_the_end_of_the_topic_is_known_is_told_nothing_old() -> None:
    feed = Feed()
    reading = asyncio.create_task(feed.read(None, None, 10, 60))
    await asyncio.sleep(0)

    feed.begins({0: 6}, {0: 8})
    for offset in (6, 7, 8):
        feed.event(event(offset))

    events, position = await reading
    assert [each["sequence"] for each in events] == [8]
    assert position == {0: 9}


class Counting(dict[int, int]):
    """A position that counts how often it is looked at."""

    looks = 0

    def get(self, key: int, default: int = 0) -> int:  # type: ignore[override]
        """Return what a dict returns."""
        self.looks += 1
        return super().get(key, default)


def test_who_has_read_nearly_all_is_not_compared_with_all() -> None:
    feed = Feed()
    feed.begins({0: 0}, {0: 0})
    for offset in range(1000):
        feed.event(event(offset))
    position: Position = Counting({0: 998})

    assert sequences(feed, position) == [998, 999]
    assert isinstance(position, Counting)
    assert position.looks < 10
