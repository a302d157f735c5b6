"""What the driver sends: stories of orders, drawn by a seed."""

import json
import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any, Final

from tests.chaos.ledger import Kind, Message, Story, Via

TIMEOUT_SECONDS: Final = 15
EARLY_TTL_SECONDS: Final = 6
REVIEW_TIMEOUT_SECONDS: Final = 12
REVIEW_ABOVE: Final = 50_000

_DEAR: Final = 90_000
_DECLINED: Final = 6_666
_POISON: Final = (
    b'{"type": "start", "order_id": "%s", "initial_address": ',
    b'{"type": "start", "order_id": "%s"}',
    b'{"type": "teleport", "order_id": "%s"}',
    b'{"type": "cancel", "order_id": "%s", "reason": "x", "cancelled_by": "me", "sudo": 1}',
    b'{"type": "cancel", "order_id": "%s", "reason": "", "cancelled_by": "me"}',
    b'["%s"]',
    b"\xff\xfe %s",
    b'{"type": "cancel", "type": "start", "order_id": "%s"}',
)


class _Order:
    """Writes the messages of one order; ids are given in three of four cases."""

    def __init__(self, chance: random.Random, order_id: str) -> None:
        self.chance = chance
        self.id = order_id
        self._count = 0

    def pause(self, least: float, most: float) -> float:
        return round(self.chance.uniform(least, most), 2)

    def start(
        self, price: int | None = None, sku: str = "SKU-1", zip_code: str = "12345"
    ) -> Message:
        body: dict[str, Any] = {"initial_address": self._address(zip_code)}
        if price is not None:
            item = {"sku": sku, "quantity": 1, "unit_price": price}
            body |= {"items": [item], "currency": "EUR"}
        return self._message("start", body)

    def cancel(self) -> Message:
        return self._message("cancel", {"reason": "changed my mind", "cancelled_by": "chaos"})

    def move(self) -> Message:
        body = {"new_address": self._address("54321"), "updated_by": "chaos"}
        return self._message("update-address", body)

    def approve(self) -> Message:
        return self._message("approve", {"reviewed_by": "chaos"})

    def reject(self) -> Message:
        return self._message("reject", {"reviewed_by": "chaos", "reason": "too dear"})

    def poison(self) -> Message:
        value = self.chance.choice(_POISON) % self.id.encode()
        return Message("poison", self.id, None, value, None)

    def contradiction(self) -> Message:
        """A good command under the key of another order."""
        return replace(self.cancel(), kind="poison", key=b"another-order", via="kafka")

    def _address(self, zip_code: str) -> dict[str, str]:
        self._count += 1
        street = f"{self._count} Main St"
        return {"street": street, "city": "Anytown", "state": "CA", "zip": zip_code}

    def _message(self, kind: Kind, body: dict[str, Any]) -> Message:
        self._count += 1
        via: Via = "rest" if self.chance.random() < 0.3 else "kafka"
        document: dict[str, Any] = {"type": kind, "order_id": self.id, **body}
        command_id = None
        if via == "rest" or self.chance.random() < 0.75:
            command_id = document["command_id"] = f"{self.id}:c{self._count}"
        key = self.id.encode() if self.chance.random() < 0.7 else None
        return Message(kind, self.id, command_id, json.dumps(document).encode(), key, via)


def _identified(make: Callable[[], Message]) -> Message:
    """A message with a command id, so that sending it twice is sending the same command twice."""
    while (message := make()).command_id is None:
        pass
    return message


def _plain(o: _Order) -> Story:
    return Story("plain", o.id, ((0, o.start()),), "shipped")


def _with_items(o: _Order) -> Story:
    return Story("with items", o.id, ((0, o.start(o.chance.randint(1_000, 40_000))),), "shipped")


def _moved(o: _Order) -> Story:
    return Story("address changed", o.id, ((0, o.start()), (o.pause(0, 1), o.move())), "shipped")


def _moved_early(o: _Order) -> Story:
    steps = ((0, o.move()), (o.pause(0, 2), o.start()))
    return Story("address changed before the start", o.id, steps, "shipped")


def _cancelled(o: _Order) -> Story:
    return Story("cancelled", o.id, ((0, o.start()), (o.pause(0, 2), o.cancel())))


def _cancelled_early(o: _Order) -> Story:
    return Story("cancelled before the start", o.id, ((0, o.cancel()), (o.pause(0, 2), o.start())))


def _cancelled_late(o: _Order) -> Story:
    return Story("cancelled too late", o.id, ((0, o.start()), (16, o.cancel())), "shipped")


def _approved(o: _Order) -> Story:
    steps = ((0, o.start(_DEAR)), (o.pause(0, REVIEW_TIMEOUT_SECONDS - 4), o.approve()))
    return Story("approved", o.id, steps, "shipped")


def _refused(o: _Order) -> Story:
    steps = ((0, o.start(_DEAR)), (o.pause(0, 5), o.reject()))
    return Story("rejected by a reviewer", o.id, steps, "unshipped")


def _cancelled_in_review(o: _Order) -> Story:
    steps = ((0, o.start(_DEAR)), (o.pause(1, 5), o.cancel()))
    return Story("cancelled in review", o.id, steps, "unshipped")


def _unreviewed(o: _Order) -> Story:
    return Story("nobody reviews", o.id, ((0, o.start(_DEAR)),), "unshipped")


def _declined(o: _Order) -> Story:
    return Story("card declined", o.id, ((0, o.start(_DECLINED)),), "unshipped")


def _unknown_item(o: _Order) -> Story:
    return Story("unknown item", o.id, ((0, o.start(1_000, sku="UNKNOWN")),), "unshipped")


def _nowhere(o: _Order) -> Story:
    return Story(
        "nobody delivers there", o.id, ((0, o.start(1_000, zip_code="00000")),), "unshipped"
    )


def _started_twice(o: _Order) -> Story:
    start = _identified(o.start)
    return Story("same start twice", o.id, ((0, start), (o.pause(0, 3), start)), "shipped")


def _started_again(o: _Order) -> Story:
    steps = ((0, o.start()), (o.pause(0, 20), o.start()))
    return Story("another start", o.id, steps, "shipped")


def _cancelled_twice(o: _Order) -> Story:
    cancel = _identified(o.cancel)
    steps = ((0, o.start()), (o.pause(0, 1), cancel), (o.pause(0, 8), cancel))
    return Story("same cancel twice", o.id, steps)


def _never_started(o: _Order) -> Story:
    return Story("never started", o.id, ((0, o.cancel()),), "unshipped")


def _started_after_the_wait(o: _Order) -> Story:
    steps = ((0, o.cancel()), (EARLY_TTL_SECONDS + 8, o.start()))
    return Story("started after an early command gave up", o.id, steps, "shipped")


def _poisoned(o: _Order) -> Story:
    make = o.contradiction if o.chance.random() < 0.2 else o.poison
    return Story("poison", o.id, ((0, make()),), "unshipped")


_WEIGHTS: Final[dict[Callable[[_Order], Story], int]] = {
    _plain: 24,
    _with_items: 8,
    _moved: 8,
    _moved_early: 4,
    _cancelled: 10,
    _cancelled_early: 5,
    _cancelled_late: 3,
    _approved: 6,
    _refused: 3,
    _cancelled_in_review: 2,
    _unreviewed: 2,
    _declined: 3,
    _unknown_item: 2,
    _nowhere: 3,
    _started_twice: 4,
    _started_again: 4,
    _cancelled_twice: 3,
    _never_started: 3,
    _started_after_the_wait: 3,
    _poisoned: 5,
}


def stories(seed: int, only: Collection[str] = ()) -> Iterator[Story]:
    """Yield stories without end, the same ones for the same seed; ``only`` those so called."""
    chance = random.Random(seed)
    weights = {
        make: weight
        for make, weight in _WEIGHTS.items()
        if not only or make.__name__.removeprefix("_") in only
    }
    number = 0
    while True:
        number += 1
        make = chance.choices(list(weights), list(weights.values()))[0]
        yield make(_Order(chance, f"X{seed}-{number}"))
