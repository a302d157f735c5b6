"""From record to command: what is wrong is said with field and value, and nothing else breaks."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.commands import CancelOrder, StartOrder
from domain.errors import BadCommand
from ingest.decode import VALUE_BYTES_MAX, decode
from tests.unit.ingest.records import ADDRESS, FakeRecord, record, start

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_command_gets_the_place_of_its_record_as_id_unless_it_has_one() -> None:
    assert decode(record(start())).command.command_id == "orders.commands-2-7"
    assert decode(record(start(command_id="mine"))).command.command_id == "mine"


def test_what_people_type_into_kcat_works() -> None:
    text = b'{"type": "cancel", "order_id": "A-1", "reason": "no", "cancelled_by": "me"}'
    assert isinstance(decode(FakeRecord(text)).command, CancelOrder)
    assert isinstance(decode(FakeRecord(text, key=b"")).command, CancelOrder)
    assert isinstance(decode(FakeRecord(text, key=b"A-1")).command, CancelOrder)


def test_a_replayed_dead_letter_keeps_the_id_of_its_first_place() -> None:
    again = record(start())
    again.headers = [
        ("dlt.original.topic", b"orders.commands"),
        ("dlt.original.partition", b"3"),
        ("dlt.original.offset", b"99"),
    ]
    assert decode(again).command.command_id == "orders.commands-3-99"


@pytest.mark.parametrize("offset", [b"", b"-1", b"9" * 30, b"\xff", "٣".encode(), None])
def test_headers_that_only_look_like_a_replay_are_ignored(offset: bytes | None) -> None:
    again = record(start())
    again.headers = [
        ("dlt.original.topic", b"orders.commands"),
        ("dlt.original.partition", b"3"),
        ("dlt.original.offset", offset),
    ]
    assert decode(again).command.command_id == "orders.commands-2-7"


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (TRACE, TRACE.decode()),
        (b"ff" + TRACE[2:], None),
        (TRACE.replace(b"4bf92f3577b34da6a3ce929d0e0e4736", b"0" * 32), None),
        (TRACE.upper(), None),
        (TRACE + b"\n", None),
        (b"\xff", None),
        (b"", None),
        (None, None),
    ],
)
def test_a_trace_is_taken_along_only_when_valid(header: bytes | None, taken: str | None) -> None:
    traced = record(start())
    traced.headers = [("traceparent", header), ("\x00 any", b"\xff\x00")]
    assert decode(traced).traceparent == taken


def test_a_whole_number_may_be_written_with_a_point_and_keeps_its_value() -> None:
    value = start(items=[{**ITEM, "unit_price": 1}], currency="EUR")
    written = json.dumps(value).replace('"unit_price": 1', '"unit_price": 900719925.00')

    command = decode(FakeRecord(written.encode())).command

    assert isinstance(command, StartOrder)
    assert command.items is not None
    assert command.items[0].unit_price == 900_719_925


BAD_VALUES: list[tuple[bytes | None, str]] = [
    (None, "no value (a tombstone)"),
    (b"", "the value is empty"),
    (b"  ", "not JSON: Expecting value"),
    (b'{"type": "\xff"}', "not UTF-8: byte 0xff at position 10"),
    (b"start A-1", "not JSON: Expecting value at line 1, column 1"),
    (b'{"type": "start",}', "not JSON"),
    (b'\xef\xbb\xbf{"type": "start"}', "not JSON"),
    (b"[1, 2]", "expected a JSON object, got [1, 2]"),
    (b'"text"', "expected a JSON object, got 'text'"),
    (b"null", "expected a JSON object, got None"),
    (b'{"type": "start", "type": "cancel"}', "type: the key stands twice"),
    (b'{"a": {"b\\n": 1, "b\\n": 1}}', "'b\\n': the key stands twice"),
    (b'{"quantity": NaN}', "NaN is not a JSON number"),
    (b'{"quantity": -Infinity}', "-Infinity is not a JSON number"),
    (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested too deeply"),
    (b'{"a": ' + b"9" * 5_000 + b"}", "digits"),
    (b" " * (VALUE_BYTES_MAX + 1), f"{VALUE_BYTES_MAX + 1} bytes, the limit is {VALUE_BYTES_MAX}"),
    (b'{"a": "' + b"x" * 1_048_576 + b'"}', "the limit is"),
]


@pytest.mark.parametrize(("value", "says"), BAD_VALUES, ids=[says for _, says in BAD_VALUES])
def test_a_value_that_is_no_json_object_is_refused(value: bytes | None, says: str) -> None:
    with pytest.raises(BadCommand) as error:
        decode(FakeRecord(value))
    assert says in str(error.value)


ITEM = {"sku": "a", "quantity": 1, "unit_price": 1}
DEAR = {"sku": "S", "quantity": 10_000, "unit_price": 10**9}
BAD_COMMANDS: list[tuple[dict[str, Any], str]] = [
    ({}, "type: missing, must be one of start, cancel, update-address, approve, reject"),
    (start(type="ship"), "update-address, approve, reject, got 'ship'"),
    (start(type=1), "got 1"),
    (start(colour="red"), "colour: unknown field, got 'red'"),
    (start(**{"a b\n": 1}), "'a b\\n': unknown field, got 1"),
    (start(initial_address=None), "initial_address: missing"),
    (start(initial_address="here"), "initial_address: must be a JSON object, got 'here'"),
    (
        start(initial_address={**ADDRESS, "zip": 12345}),
        "initial_address.zip: must be a valid string, got 12345",
    ),
    (
        start(initial_address={**ADDRESS, "zip": " "}),
        "initial_address.zip: must have at least 1 character",
    ),
    (start(initial_address={**ADDRESS, "zip": "a\x00"}), "control character 0x00 is not allowed"),
    (start(initial_address={**ADDRESS, "zip": "\ud800"}), "initial_address.zip: not valid Unicode"),
    (
        start(initial_address={**ADDRESS, "zip": "z" * 501}),
        "initial_address.zip: must have at most 500",
    ),
    (start(order_id=""), "order_id: must have at least 1 character, got ''"),
    (start(order_id="A 1"), "order_id: must be letters, digits and . _ : -"),
    (start(order_id="A-1\n"), "order_id: must be letters"),
    (start(order_id="A" * 65), "order_id: must have at most 64 characters"),
    (start(command_id="ü"), "a letter or digit first, at most 128"),
    (
        start(items=[{**ITEM, "quantity": "1"}], currency="EUR"),
        "items.0.quantity: must be a valid integer, got '1'",
    ),
    (
        start(items=[{**ITEM, "unit_price": 1.5}], currency="EUR"),
        "items.0.unit_price: must be a valid integer, got 1.5",
    ),
    (start(items=[], currency="EUR"), "items: must have at least 1 item"),
    (start(items=[ITEM] * 201, currency="EUR"), "items: must have at most 200 items"),
    (start(items=[DEAR] * 101, currency="EUR"), f"items: must come to at most {10**15}"),
    (start(currency="EUR"), "currency: items and currency go together"),
    (start(items=[ITEM]), "currency: items and currency go together"),
    (start(currency="eur", items=[]), "currency: "),
]


@pytest.mark.parametrize(("document", "says"), BAD_COMMANDS, ids=[says for _, says in BAD_COMMANDS])
def test_a_bad_field_is_named_with_its_value(document: dict[str, Any], says: str) -> None:
    with pytest.raises(BadCommand) as error:
        decode(record(document))
    text = str(error.value)
    assert says in text
    assert text.isprintable()
    assert len(text) < 1_000


def test_an_item_that_is_wrong_is_one_error() -> None:
    with pytest.raises(BadCommand, match=r"^items\.0\.quantity: must be greater [^;]*$"):
        decode(record(start(items=[{**ITEM, "quantity": 0}], currency="EUR")))


def test_many_errors_are_counted_and_not_all_listed() -> None:
    with pytest.raises(BadCommand, match=r"and 5 more$"):
        decode(record(start(**{f"x{number}": 1 for number in range(10)})))


@pytest.mark.parametrize("item", [1, {}, ITEM])
def test_a_long_list_is_refused_without_an_error_for_each_of_its_items(item: object) -> None:
    """Those of one record took 15 seconds, in which the process did nothing else."""
    with pytest.raises(BadCommand, match=r"^items: must have at most 200 items, got [^;]*$"):
        decode(record(start(items=[item] * 10_000, currency="EUR")))


def test_an_object_of_many_fields_is_refused_without_an_error_for_each() -> None:
    fields = {f"x{number}": 1 for number in range(10_000)}
    for document in (start(**fields), start(initial_address=fields)):
        with pytest.raises(BadCommand, match=r"^an object has \d+ fields, the limit is 20$"):
            decode(record(document))


def test_a_key_that_contradicts_the_body_is_refused() -> None:
    with pytest.raises(BadCommand, match="key b'A-2' contradicts order_id 'A-1'"):
        decode(record(start(), key=b"A-2"))
    with pytest.raises(BadCommand, match="contradicts"):
        decode(record(start(), key=b"\xff"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = ["type", "order_id", "command_id", "initial_address", "items", "currency", "reason"]


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"type": "start", "order_id": "A", "initial_address": {"\\ud800": 1}}')
def test_no_value_whatever_does_more_than_raise_bad_command(value: bytes) -> None:
    with pytest.raises(BadCommand) as error:
        decode(FakeRecord(value))
    str(error.value).encode()


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(), JSON))
def test_no_fields_whatever_do_more_than_raise_bad_command(fields: dict[str, Any]) -> None:
    try:
        command = decode(record(start(**fields))).command
    except BadCommand as error:
        str(error).encode()
    else:
        assert isinstance(command, StartOrder)
