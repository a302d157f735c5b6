"""What is shown of a dead letter, and what it is sent again with."""

from typing import cast

from aiokafka import ConsumerRecord

from ingest.decode import record_id
from ingest.replay import DeadLetter, headers_again
from tests.unit.ingest.records import FakeRecord

HEADERS = [
    ("dlt.original.topic", b"orders.commands"),
    ("dlt.original.partition", b"3"),
    ("dlt.original.offset", b"99"),
    ("dlt.error.class", b"BadCommand"),
    ("own", None),
]


def test_a_dead_letter_keeps_its_identity_and_its_own_headers_and_loses_the_reason() -> None:
    again = headers_again(FakeRecord(topic="orders.commands-dlt", headers=HEADERS))
    assert record_id(FakeRecord(headers=again)) == "orders.commands-3-99"
    assert sorted(name for name, _ in again) == [
        "dlt.original.offset", "dlt.original.partition", "dlt.original.topic", "own"
    ]  # fmt: skip


def test_what_something_else_put_there_is_the_same_command_however_often_it_is_sent() -> None:
    foreign = FakeRecord(topic="orders.commands-dlt", partition=1, offset=5)
    sent = [FakeRecord(headers=headers_again(foreign), offset=offset) for offset in (10, 11)]
    assert {record_id(record) for record in sent} == {"orders.commands-dlt-1-5"}


def test_of_a_long_key_and_a_long_value_the_beginning_is_shown() -> None:
    record = cast("ConsumerRecord[bytes, bytes]", FakeRecord(b"v" * 50, b"k" * 50))
    letter = DeadLetter("orders.commands-2-7", 2, record)
    shown = letter.document(10)
    assert (shown["key"], shown["value"]) == ("k" * 10, "v" * 10)
    assert letter.document()["key"] == "k" * 50
