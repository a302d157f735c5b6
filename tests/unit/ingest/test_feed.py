"""The feed of events as a new API process has it."""

from ingest.api.feed import Feed
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
