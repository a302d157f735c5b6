"""Follows one order until it ends: its steps, retries and time left as they happen."""

import time
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Final

from rich.console import Console

from domain.states import TERMINAL
from ingest.client import render
from ingest.client.errors import Code, Failed
from ingest.client.http import Api, Json
from ingest.client.patience import outlast
from ingest.client.program import path

POLL_SECONDS: Final = 0.25
AWAY_SECONDS: Final = 60


def follow(api: Api, order_id: str, command_id: str, console: Console | None) -> Json:
    """Return the order's status once it has ended; ``console`` None tells nothing meanwhile.

    An order that is not there yet is waited for, and so is an API that goes away. Raises
    ``Failed`` when the command that is followed is refused.
    """
    place, seen, began, told = path("orders", order_id, "status"), 0, None, ""
    with console.status("") if console and console.is_terminal else nullcontext() as spinner:
        while True:
            # An order's row and its trail change together, so after this its trail is complete.
            order = outlast(partial(api.find, place), AWAY_SECONDS)
            for entry in outlast(partial(_events, api, order_id, seen), AWAY_SECONDS):
                seen = entry["sequence"]
                began = began or datetime.fromisoformat(entry["at"])
                if console:
                    console.print(render.event(entry, began))
                _check(entry, command_id)
            if order and order["state"] in TERMINAL:
                return order
            now = render.progress(order) if order else "waiting for its start"
            if spinner:
                spinner.update(now)
            elif console and order and order["attempts"] and _without_time(now) != told:
                told = _without_time(now)
                console.print(f"            ... {now}")
            time.sleep(POLL_SECONDS)


def _events(api: Api, order_id: str, seen: int) -> list[Json]:
    document = api.find(path("orders", order_id, "history"), {"after": seen})
    return document["events"] if document else []


def _check(entry: Json, command_id: str) -> None:
    if entry["type"] == "order.command_rejected" and entry["command_id"] == command_id:
        raise Failed(Code.REJECTED, entry["data"]["reason"])


def _without_time(progress: str) -> str:
    return progress.rpartition(" · ")[0]
