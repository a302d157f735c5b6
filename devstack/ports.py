"""Which ports the servers use."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"

_FIRST_FREE = 15_000
_EPHEMERAL = 32_768
"""Where Linux starts to hand out ports by itself, unless told otherwise."""


@dataclass(frozen=True)
class Ports:
    """Where each server listens, on loopback."""

    kafka: int
    temporal: int
    temporal_ui: int
    postgres: int

    @classmethod
    def free(cls) -> Self:
        """Four ports that nobody uses (for tests)."""
        chosen: set[int] = set()
        return cls(*(free_port(chosen) for _ in range(4)))

    @classmethod
    def preferred(cls, say: Callable[[str], None]) -> Self:
        """The well-known ports; one that is taken is replaced by a free one, and `say` is told."""
        known = {"Kafka": 9092, "Temporal": 7233, "Temporal UI": 8080, "PostgreSQL": 5432}
        chosen = set(known.values())
        return cls(*(preferred_port(name, port, say, chosen) for name, port in known.items()))


def preferred_port(
    name: str, port: int, say: Callable[[str], None], chosen: set[int] | None = None
) -> int:
    """`port`, or a free one in its place when it is taken; `say` is told then."""
    if is_free(port):
        return port
    other = free_port(chosen)
    say(f"port {port} is taken: {name} uses {other} instead")
    return other


def free_port(chosen: set[int] | None = None) -> int:
    """A port nobody uses and that is not in `chosen`, which gets it added.

    From below the range the kernel hands out by itself, so that no outgoing connection takes it
    while its server is down for a restart.
    """
    taken = set() if chosen is None else chosen
    candidates = range(_FIRST_FREE, max(_ephemeral_start(), _FIRST_FREE + 1_000))
    while (port := random.choice(candidates)) in taken or not is_free(port):  # noqa: S311
        taken.add(port)
    taken.add(port)
    return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port and `localhost` would lead to it."""
    with closing(socket.socket(socket.AF_INET)) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is no obstacle
        try:
            attempt.bind((LOOPBACK, port))
        except OSError:
            return False
    with closing(socket.socket(socket.AF_INET6)) as attempt:
        attempt.settimeout(0.2)
        try:
            return attempt.connect_ex(("::1", port)) != 0
        except OSError:
            return True


def _ephemeral_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return _EPHEMERAL
