"""Reads pages, histories and the feed of events, and prints them."""

import time
from functools import partial
from typing import Final

from domain.states import TERMINAL
from ingest.client import render
from ingest.client.http import Api, Json
from ingest.client.patience import outlast
from ingest.client.program import path, print_json

WAIT_SECONDS: Final = 20
POLL_SECONDS: Final = 0.5


def history(api: Api, order_id: str) -> Json:
    """Return the whole audit trail of an order, all pages of it."""
    document = api.get(path("orders", order_id, "history"))
    following = document["next"]
    while following:
        page = api.get(following)
        document["events"] += page["events"]
        following = page["next"]
    return {**document, "next": None}


def print_page(api: Api, state: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """Print one page of orders, and how to get the next."""
    page = api.get("/orders", {"state": state, "limit": limit, "after": after})
    if as_json:
        print_json(page)
        return
    if not page["orders"]:
        print("No orders." if state is None else f"No orders are {state}.")
        return
    render.console().print(render.orders(page))
    if page["next"]:
        only = f" --state {state}" if state else ""
        last = page["orders"][-1]["order_id"]
        print(f"More: orders list{only} --limit {limit} --after {last}")


def watch_all(api: Api, as_json: bool) -> None:
    """Print the events of all orders from now on, until Ctrl-C.

    An API that is away is waited for; what happened meanwhile is told then.
    """
    console = render.console()
    page = api.get("/events")

    while True:
        # Until the API has read Kafka for the first time it knows no position.
        query = {"after": page["next"] or None}
        page = outlast(partial(api.get, "/events", query, wait=WAIT_SECONDS))
        for event in page["events"]:
            if as_json:
                print_json(event)
            else:
                console.print(render.event(event, named=True))


def watch_one(api: Api, order_id: str, as_json: bool) -> None:
    """Print the events of one order until it ends; one that is not there yet is waited for.

    An API that is away is waited for, too, once it has answered.
    """
    console, seen = render.console(), 0
    place = path("orders", order_id, "history")
    page = api.find(place)
    while True:
        for event in page["events"] if page else ():
            seen = event["sequence"]
            if as_json:
                print_json(event)
            else:
                console.print(render.event(event))
        if page and page["events"] and _is_last(page):
            return
        time.sleep(POLL_SECONDS)
        page = outlast(partial(api.find, place, {"after": seen}))


def _is_last(page: Json) -> bool:
    return page["events"][-1]["state"] in TERMINAL and not page["next"]
