"""Records that are no command: dead letters with a clear text, and neighbours undisturbed."""

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest import replay
from tests.integration.ingest.conftest import MakeSettings
from tests.integration.ingest.harness import Commands, cancel, running, start
from tests.support.kcat import needs_kcat, shell
from tests.support.waiting import until

RUN = uuid.uuid4().hex[:8]
"""Part of every order id: the tests of a run share one Temporal."""

NO_COMMANDS: dict[str, tuple[bytes | None, str]] = {
    "not UTF-8": (b"\xff\xfe\x00", "not UTF-8: byte 0xff at position 0"),
    "not JSON": (b"hello", "not JSON"),
    "no object": (b"[]", "expected a JSON object"),
    "duplicate keys": (b'{"order_id": "A", "order_id": "B"}', "order_id: the key stands twice"),
    "NaN": (b'{"type": NaN}', "NaN is not a JSON number"),
    "unknown type": (b'{"type": "ship", "order_id": "A"}', "got 'ship'"),
    "unknown field": (json.dumps(start("A", x=1)).encode(), "x: unknown field, got 1"),
    "missing field": (b'{"type": "approve", "order_id": "A"}', "reviewed_by: missing"),
    "wrong type": (json.dumps(cancel("A") | {"reason": 5}).encode(), "must be a valid string"),
    "empty string": (json.dumps(cancel("A") | {"reason": ""}).encode(), "at least 1 character"),
    "order id too long": (json.dumps(cancel("A" * 65)).encode(), "at most 64 characters"),
    "order id of other characters": (json.dumps(cancel("A/B")).encode(), "got 'A/B'"),
    "no value": (None, "tombstone"),
    "empty value": (b"", "the value is empty"),
    "1 MiB": (b'"' + b"x" * (1_048_576 - 2) + b'"', "1048576 bytes, the limit is"),
    "nesting": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
}  # fmt: skip


@pytest.fixture
async def ingest(make_settings: MakeSettings) -> AsyncIterator[None]:
    async with running(make_settings(), "ingest"):
        yield


@pytest.mark.usefixtures("ingest")
async def test_each_kind_of_bad_record_is_kept_whole_with_its_reason(commands: Commands) -> None:
    headers: list[tuple[str, bytes | None]] = [("any", b"\xff\x00"), ("any", None), ("", b"")]
    kinds = {
        await commands.send_raw(value, key=None, partition=1, headers=headers): (value, says)
        for value, says in NO_COMMANDS.values()
    }
    wrong_key = json.dumps(cancel("A-1")).encode()
    kinds[await commands.send_raw(wrong_key, key=b"A-2", partition=1)] = wrong_key, "contradicts"

    await commands.all_committed()
    letters = await commands.dead_letters()
    assert letters.keys() == kinds.keys()
    for letter_id, (value, says) in kinds.items():
        letter = letters[letter_id]
        assert letter.record.value == value
        assert letter.record.partition == 1
        assert says in letter.header("dlt.error.message")
        assert letter.header("dlt.error.class") == "BadCommand"
        assert letter.header("dlt.original.topic") == commands.settings.commands_topic
        assert letter_id.endswith(f"-1-{letter.header('dlt.original.offset')}")
        if "contradicts" not in says:
            assert list(letter.record.headers)[:3] == headers


async def test_bad_records_do_not_disturb_their_neighbours(
    commands: Commands, make_settings: MakeSettings
) -> None:
    async with running(make_settings(), "ingest", "worker"):
        sent = []
        for number, (value, _) in enumerate(NO_COMMANDS.values()):
            await commands.send_raw(value, partition=2)
            sent += await commands.send(start(f"N-{number}-{RUN}"), partition=2)
        for number, command_id in enumerate(sent):
            assert (await commands.outcome(command_id)).order_id == f"N-{number}-{RUN}"
            assert (await commands.story(f"N-{number}-{RUN}", "order.shipped"))[
                0
            ] == "order.received"
        await commands.all_committed()
    assert len(await commands.dead_letters()) == len(NO_COMMANDS)


@needs_kcat
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.usefixtures("ingest")
async def test_header_keys_that_are_not_utf8_stop_nothing(commands: Commands, codec: str) -> None:
    kafka, topic = commands.settings.kafka_bootstrap_servers, commands.settings.commands_topic
    # Long, for kcat sends as it is what compression would not make smaller.
    await shell(
        f"printf '%900s\\n' before with after | kcat -P -z {codec} -b {kafka} -t {topic} -p 3"
        " -H \"$(printf '\\377\\376')=1\" -H plain=2"
    )
    await commands.all_committed()
    letters = await commands.dead_letters()
    values = [letter.record.value.strip() for letter in letters.values()]
    assert values == [b"before", b"with", b"after"]
    assert list(letters.values())[1].record.headers[:2] == ((r"\xff\xfe", b"1"), ("plain", b"2"))


@needs_kcat
@pytest.mark.usefixtures("ingest")
async def test_a_value_that_only_compression_made_small_enough_becomes_a_dead_letter(
    commands: Commands, tmp_path: Path
) -> None:
    kafka, topic = commands.settings.kafka_bootstrap_servers, commands.settings.commands_topic
    value = b"x" * 5_000_000
    (tmp_path / "value").write_bytes(value)
    await shell(
        f"kcat -P -z zstd -X message.max.bytes=9000000 -b {kafka} -t {topic} {tmp_path}/value"
    )
    await commands.all_committed()
    (letter,) = (await commands.dead_letters()).values()
    assert letter.record.value == value
    assert "5000000 bytes, the limit is" in letter.header("dlt.error.message")


@pytest.mark.usefixtures("ingest")
async def test_a_replayed_dead_letter_that_is_still_wrong_keeps_its_id_and_counts(
    commands: Commands,
) -> None:
    letter_id = await commands.send_raw(b"junk", key=b"k", partition=3, headers=[("h", b"v")])
    await until(commands.dead_letters)
    for attempt in (2, 3):
        await replay.replay(commands.settings, [], everything=True)

        async def came_back(attempt: int = attempt) -> bool:
            letters = await commands.dead_letters()
            return letters[letter_id].header("dlt.attempts") == str(attempt)

        await until(came_back)
    (letter,) = (await commands.dead_letters()).values()
    assert (letter.record.key, letter.record.value) == (b"k", b"junk")
    assert letter.record.headers[0] == ("h", b"v")
    assert letter.record.partition == 3


async def test_replaying_what_became_right_takes_effect_once_under_its_first_id(
    commands: Commands, make_settings: MakeSettings
) -> None:
    """A record that an earlier program refused, as the dead-letter topic would hold it."""
    settings = make_settings()
    headers = [
        ("dlt.original.topic", settings.commands_topic.encode()),
        ("dlt.original.partition", b"1"),
        ("dlt.original.offset", b"4711"),
    ]
    await commands.producer.send_and_wait(
        settings.dead_letter_topic,
        json.dumps(start(f"R-1-{RUN}")).encode(),
        partition=1,
        headers=headers,
    )
    letter_id = f"{settings.commands_topic}-1-4711"
    async with running(settings, "ingest", "worker"):
        await replay.replay(settings, [letter_id], everything=False)
        assert (await commands.outcome(letter_id)).recorded.type == "order.received"
        await replay.replay(settings, [letter_id], everything=False)
        once = await commands.story(f"R-1-{RUN}", "order.shipped")
        await replay.replay(settings, [letter_id], everything=False)
        await commands.all_committed()
        assert await commands.story(f"R-1-{RUN}", "order.shipped") == once


async def test_the_command_line_lists_shows_and_refuses(
    commands: Commands,
    make_settings: MakeSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with running(make_settings(), "ingest"):
        letter_id = await commands.send_raw(b"junk\x1b[31m", key=b"k", headers=[("h", b"v")])
        await until(commands.dead_letters)
    await replay.list_all(make_settings(), as_json=False)
    assert f"{letter_id}  " in capsys.readouterr().out
    await replay.show(make_settings(), letter_id, as_json=False)
    shown = capsys.readouterr().out
    assert "key:      k\nheader:   h=v\nvalue:    9 bytes\njunk\\x1b[31m" in shown
    with pytest.raises(replay.NotFound, match="no dead letter nope"):
        await replay.show(make_settings(), "nope", as_json=False)
