"""What the board tells about a command when the API fails it half-way."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from board.rest import ApiAway, ApiError, Rest
from devstack import free_port

HANGS_UP = None


@contextlib.asynccontextmanager
async def api(*answers: dict[str, object] | None) -> AsyncIterator[Rest]:
    """An API that gives these answers in turn, or hangs up instead."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer = left.pop(0)
        if answer is not HANGS_UP:
            body = json.dumps(answer).encode()
            head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        rest = Rest(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        yield rest
        await rest.close()


async def test_an_outcome_is_waited_for_although_the_api_goes_away_meanwhile() -> None:
    applied: dict[str, object] = {"status": "applied", "event": {"type": "order.received"}}
    async with api({}, {"status": "pending"}, HANGS_UP, applied) as rest:
        outcome = await rest.command("A-1", "start", {}, "ann", "a trial")
        assert outcome.text == "Applied: order.received"


async def test_a_command_whose_answer_was_lost_may_have_been_taken() -> None:
    async with api(HANGS_UP) as rest:
        with pytest.raises(ApiAway) as failed:
            await rest.command("A-1", "start", {}, "ann", "a trial")
        assert failed.value.reached


async def test_a_command_that_met_nobody_was_not_taken() -> None:
    rest = Rest(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ApiAway) as failed:
        await rest.command("A-1", "start", {}, "ann", "a trial")
    assert not failed.value.reached
    await rest.close()


@pytest.mark.parametrize("order_id", ["..", "a/b", "a b", "-1", "z" * 65])
async def test_what_cannot_be_an_order_id_is_not_sent(order_id: str) -> None:
    async with api({}) as rest:
        with pytest.raises(ApiError, match="is no order id: letters, digits"):
            await rest.command(order_id, "start", {}, "ann", "a trial")
