"""Every line of docs/kcat.md works as it stands there."""

import json
import re
from pathlib import Path

from tests.support.kcat import needs_kcat, shell
from tests.support.service import Service
from tests.support.waiting import until

PAGE = Path(__file__).parents[2] / "docs" / "kcat.md"

pytestmark = needs_kcat


def lines() -> list[str]:
    blocks = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def here(line: str, service: Service) -> str:
    """Return a line of the page with the addresses of this test, and orders of its own.

    The examples of the REST API are about an order A-1, too, and a workflow server that the tests
    share knows an order id once.
    """
    names = {
        "localhost:9092": service.bootstrap,
        "orders.commands-dlt": service.topics.dead_letters,
        "orders.commands": service.topics.commands,
        "orders.events": service.topics.events,
    }
    for name, replacement in names.items():
        line = re.sub(rf"(?<=\s){re.escape(name)}(?=\s|$)", replacement, line)
    assert "localhost:9092" not in line
    return re.sub(r"\bA-(\d)", r"kcat-\1", line)


async def test_every_line_does_what_the_page_says(service: Service) -> None:
    sends = [line for line in lines() if " -P " in line]
    reads = [line for line in lines() if " -C " in line]
    assert len(sends) == 9
    assert len(reads) == 4

    for line in sends[:4]:
        await shell(here(line, service))
    for order_id in ("kcat-2", "kcat-3", "kcat-4"):
        await service.story(order_id, "order.review_requested")
    for line in sends[4:]:
        await shell(here(line, service))

    assert (await service.story("kcat-1", "order.shipped"))[0] == "order.received"
    assert "order.address_updated" in await service.story("kcat-2", "order.shipped")
    await service.story("kcat-3", "order.rejected")
    await service.story("kcat-4", "order.cancelled")

    trail = (await shell(here(reads[0], service))).splitlines()
    events = [json.loads(line.removeprefix("kcat-2 ")) for line in trail]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    short = (await shell(here(reads[1], service))).splitlines()
    assert '"type":"order.received"' in short[0]
    assert len(short) == len(events)
    assert "ce_id=kcat-2-1" in await shell(here(reads[2], service))

    async def dead_letter() -> bool:
        printed = await shell(here(reads[3], service))
        return '{"type":"start","order_id":"kcat-5"' in printed and "dlt.error.message=" in printed

    await until(dead_letter)
