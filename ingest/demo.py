"""``orders demo``: a mixed bag of orders over the real parts, and the story of each."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from devstack import Ports
from domain.events import EVENT, Event, ShipmentPrepared
from ingest.local import LocalService, local_service
from ingest.up import run_until_signalled, say

PATIENCE_SECONDS: Final = 60
QUIET_SECONDS: Final = 1
HOME: Final = {"street": "123 Main St", "city": "Anytown", "state": "CA", "zip": "12345"}
OFFICE: Final = {"street": "9 Side St", "city": "Anytown", "state": "CA", "zip": "12345"}
BROKEN: Final = b'{"type": "start", "order_id": "D-6", "initial_address": '

BEGUN: Final = ("order.received", "order.validated")
DELIVERED: Final = (
    "order.payment_charged",
    "order.shipment_prepared",
    "order.dispatched",
    "order.shipped",
)


@dataclass
class Story:
    """One order: what it is sent, and the events it must end with.

    ``replies`` are sent once the order waits for a person; ``label`` is the address that the
    parcel must carry.
    """

    order_id: str
    title: str
    expected: tuple[str, ...]
    dear: bool = False
    replies: tuple[dict[str, Any], ...] = ()
    label: dict[str, str] = field(default_factory=lambda: HOME)
    events: list[Event] = field(default_factory=list)

    def start(self) -> dict[str, Any]:
        """Return the start command; a dear order is one that a person has to review."""
        command: dict[str, Any] = {
            "type": "start",
            "order_id": self.order_id,
            "initial_address": HOME,
        }
        if self.dear:
            items = [{"sku": "GOLD", "quantity": 1, "unit_price": 90_000}]
            command |= {"items": items, "currency": "USD"}
        return command

    @property
    def complete(self) -> bool:
        """Whether as many events have come as the story has."""
        return len(self.events) >= len(self.expected)

    @property
    def as_expected(self) -> bool:
        """Whether the events are the expected ones, in order, and the label is right."""
        labels = [
            event.data.address.model_dump()
            for event in self.events
            if isinstance(event.data, ShipmentPrepared)
        ]
        return tuple(e.type for e in self.events) == self.expected and (
            not labels or labels[-1] == self.label
        )


def stories() -> list[Story]:
    """Return the bag: plain, address changed, cancelled, approved, rejected."""
    reviewed = (*BEGUN, "order.review_requested")
    move = {"type": "update-address", "new_address": OFFICE, "updated_by": "demo"}
    cancel = {"type": "cancel", "reason": "no longer wanted", "cancelled_by": "demo"}
    approve = {"type": "approve", "reviewed_by": "demo"}
    reject = {"type": "reject", "reviewed_by": "demo", "reason": "looks odd"}
    moved = (*reviewed, "order.address_updated", "order.approved", *DELIVERED)
    return [
        Story("D-1", "plain", (*BEGUN, *DELIVERED)),
        Story("D-2", "address changed", moved, True, (move, approve), OFFICE),
        Story("D-3", "cancelled", (*reviewed, "order.cancelled"), True, (cancel,)),
        Story("D-4", "approved", (*reviewed, "order.approved", *DELIVERED), True, (approve,)),
        Story("D-5", "rejected", (*reviewed, "order.rejected"), True, (reject,)),
    ]


def run_demo(*, under_make: bool) -> int:
    """Start everything on free ports with fresh data, play the stories, end everything.

    Returns 0 only if every story ended as it should.
    """
    return run_until_signalled(_demo, under_make=under_make)


async def _demo() -> int:
    with tempfile.TemporaryDirectory(prefix="orders-demo-") as directory:
        # The stories are written for the default policy, whatever the environment says.
        settings = {"REVIEW_POLICY": "above", "REVIEW_ABOVE": "50000", "SIMULATED_FAULTS": "none"}
        async with local_service(
            Path(directory), Ports.free(), say, settings, persistent=False
        ) as service:
            say("Playing five orders and a broken message ...")
            failed = asyncio.ensure_future(service.failed())
            play = asyncio.ensure_future(_play(service))
            try:
                await asyncio.wait({failed, play}, return_when=asyncio.FIRST_COMPLETED)
                if play.done():
                    return play.result()
                say(f"Gone for good: {failed.result()}")
                return 1
            finally:
                failed.cancel()
                play.cancel()
                await asyncio.gather(failed, play, return_exceptions=True)


async def _play(service: LocalService) -> int:
    bag = stories()
    settings = service.settings
    async with (
        _producer(settings.kafka_bootstrap_servers) as producer,
        _records(settings.kafka_bootstrap_servers, settings.events_topic) as events,
        _records(settings.kafka_bootstrap_servers, settings.dead_letter_topic) as dead,
    ):
        await producer.send_and_wait(settings.commands_topic, BROKEN)
        for story in bag:
            await _send(producer, settings.commands_topic, story.order_id, story.start())
        letter: dict[str, str] | None = None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await _follow(events, producer, settings.commands_topic, bag)
                letter = await _read_dead_letter(dead)
        except TimeoutError:
            say(f"Not everything came to an end within {PATIENCE_SECONDS} s")
    return _tell(bag, letter)


async def _follow(
    events: AIOKafkaConsumer, producer: AIOKafkaProducer, topic: str, bag: list[Story]
) -> None:
    by_id = {story.order_id: story for story in bag}
    while True:
        # Told to its end, a story must not go on: listen for a while longer.
        patience = QUIET_SECONDS if all(story.complete for story in bag) else PATIENCE_SECONDS
        try:
            record = await asyncio.wait_for(events.getone(), patience)
        except TimeoutError:
            return
        event = EVENT.validate_json(record.value)
        story = by_id[event.order_id]
        story.events.append(event)
        if event.type == "order.review_requested":
            for reply in story.replies:
                await _send(producer, topic, story.order_id, reply)


async def _send(
    producer: AIOKafkaProducer, topic: str, order_id: str, command: dict[str, Any]
) -> None:
    value = json.dumps({**command, "order_id": order_id}).encode()
    await producer.send_and_wait(topic, value, key=order_id.encode())


async def _read_dead_letter(dead: AIOKafkaConsumer) -> dict[str, str]:
    record = await dead.getone()
    return {name: value.decode() for name, value in record.headers}


def _tell(bag: list[Story], letter: dict[str, str] | None) -> int:
    for story in bag:
        verdict = "ok" if story.as_expected else "NOT AS EXPECTED"
        say(f"\n{story.order_id} ({story.title}): {verdict}")
        previous = story.events[0].at if story.events else None
        for event in story.events:
            step = (event.at - previous).total_seconds() if previous else 0.0
            say(f"  {event.sequence:2} +{step:6.3f} s  {event.type:24} {_detail(event)}")
            previous = event.at
        if not story.as_expected:
            say(f"  expected: {', '.join(story.expected)}; on the label: {story.label['street']}")
    refused = letter is not None and "JSON" in letter.get("dlt.error.message", "")
    say(f"\nD-6 (broken message): {'ok, dead letter' if refused else 'NOT AS EXPECTED'}")
    for name, value in (letter or {}).items():
        say(f"  {name}: {value}")
    right = sum(story.as_expected for story in bag) + refused
    say(f"\n{right} of {len(bag) + 1} stories ended as they should")
    return 0 if right == len(bag) + 1 else 1


def _detail(event: Event) -> str:
    data = event.data.model_dump(mode="json", exclude_none=True)
    address = data.pop("address", None)
    if address:
        data["to"] = address["street"]
    data.pop("items", None)
    return ", ".join(f"{name} {value}" for name, value in data.items())


@contextlib.asynccontextmanager
async def _producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@contextlib.asynccontextmanager
async def _records(bootstrap: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()
