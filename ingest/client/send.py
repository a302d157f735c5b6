"""Sends a command and tells what became of it, or of the order."""

import sys
from typing import Final

import typer

from domain.model import COMMAND_ID_MAX
from ingest.client import render
from ingest.client.errors import Code
from ingest.client.follow import follow
from ingest.client.http import OUTCOME_SECONDS, Api, Json
from ingest.client.program import check_id, path, print_json

ASKED_FOR: Final = {"cancel": "cancelled", "reject": "rejected"}
"""The end that a command wants; any other command wants the order to be shipped."""

DONE: Final = {
    "start": "started",
    "cancel": "will be cancelled",
    "update-address": "has the new address",
    "approve": "is approved",
    "reject": "is rejected",
}


def send(
    api: Api,
    order_id: str,
    kind: str,
    body: Json,
    command_id: str | None,
    wait: bool | None,
    as_json: bool,
) -> None:
    """Send a command. Raises ``Failed`` when it is refused, ``Exit`` 1 when with ``wait`` the
    order ends otherwise than the command wants.
    """
    if command_id is not None:
        check_id("command id", command_id, COMMAND_ID_MAX)
    place = ("start",) if kind == "start" else ("signals", kind)
    seconds = 0 if wait is False else OUTCOME_SECONDS
    try:
        status = api.send(path("orders", order_id, *place), body, command_id, seconds)
        if wait:
            console = None if as_json else render.console()
            order = follow(api, order_id, status["command_id"], console)
    except KeyboardInterrupt:
        print(f"the order goes on; see: orders status {order_id}", file=sys.stderr)
        raise
    if wait:
        _tell_end(order, kind, as_json)
    elif as_json:
        print_json(status)
    elif status["status"] == "pending":
        print(f"accepted as command {status['command_id']}; see: orders status {order_id}")
    else:
        print(f"{order_id} {DONE[kind]}; see: orders status {order_id}")


def _tell_end(order: Json, kind: str, as_json: bool) -> None:
    if as_json:
        print_json(order)
    else:
        reason = f": {order['reason']}" if order["reason"] else ""
        print(f"{order['order_id']} is {order['state']}{reason}")
    if order["state"] != ASKED_FOR.get(kind, "shipped"):
        raise typer.Exit(Code.REJECTED)
