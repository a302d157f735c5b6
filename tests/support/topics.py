"""The names of the three topics of one test."""

from typing import NamedTuple


class Topics(NamedTuple):
    """Topics that exist already, four partitions each."""

    commands: str
    events: str
    dead_letters: str
