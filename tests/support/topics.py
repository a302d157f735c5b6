"""Names that no other test uses, and the three topics of a test."""

import re
import uuid
from collections.abc import Callable
from typing import NamedTuple

from ingest.topics import create_topics

MakeName = Callable[[str], str]


class Topics(NamedTuple):
    """Topics that exist already, four partitions each."""

    commands: str
    events: str
    dead_letters: str


def names_for(test: str) -> MakeName:
    """Return what makes a name (topic, group, task queue) of a test's own."""
    label = re.sub(r"[^A-Za-z0-9]+", "-", test)[:60].strip("-")
    suffix = uuid.uuid4().hex[:8]
    return lambda name: f"{name}.{label}.{suffix}"


async def fresh_topics(bootstrap: str, unique: MakeName) -> Topics:
    """Create topics under unique names."""
    topics = Topics(unique("commands"), unique("events"), unique("dlt"))
    await create_topics(bootstrap, *topics)
    return topics
