"""Simulated partners that do as a test tells them, call by call."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from domain.errors import Declined, PartnerUnavailable, Rejected
from orchestration.gateways import Gateways


@dataclass(frozen=True)
class Call:
    """A call on its way to a partner; its ``key`` begins with the order's id."""

    key: str
    send: Callable[[], Awaitable[Any]]

    async def __call__(self) -> Any:
        return await self.send()


Behaviour = Callable[[Call], Awaitable[Any]]


async def works(call: Call) -> Any:
    return await call()


async def raises(_: Call) -> Any:
    raise PartnerUnavailable("told to raise")


async def raises_after_effect(call: Call) -> Any:
    await call()
    raise PartnerUnavailable("told to raise after the effect")


async def hangs(_: Call) -> Any:
    await asyncio.sleep(300)


async def hangs_after_effect(call: Call) -> Any:
    await call()
    await asyncio.sleep(300)


async def works_late(call: Call) -> Any:
    """Take effect when nobody waits for it any more."""
    await asyncio.sleep(3)
    return await call()


async def declines(_: Call) -> Any:
    raise Declined("told to decline")


async def breaks(_: Call) -> Any:
    raise Rejected("told to break")


class Gate:
    """Lets a call through once it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def __call__(self, call: Call) -> Any:
        self.reached.set()
        await self.opened.wait()
        return await call()


class Script:
    """What each operation does: first ``next`` in turn, then ``always``."""

    def __init__(self) -> None:
        self.always: dict[str, Behaviour] = defaultdict(lambda: works)
        self.next: dict[str, list[Behaviour]] = defaultdict(list)
        self.calls: dict[str, int] = defaultdict(int)
        self.keys: dict[str, set[str]] = defaultdict(set)

    async def perform(self, operation: str, call: Call) -> Any:
        self.calls[operation] += 1
        self.keys[operation].add(call.key)
        waiting = self.next[operation]
        behaviour = waiting.pop(0) if waiting else self.always[operation]
        return await behaviour(call)

    def direct(self, real: Gateways) -> Gateways:
        """Put the script between the service and the partners."""
        directed: dict[str, Any] = {
            name: _Directed(name, getattr(real, name), self) for name in Gateways.__slots__
        }
        return Gateways(**directed)


class _Directed:
    def __init__(self, name: str, real: object, script: Script) -> None:
        self._name, self._real, self._script = name, real, script

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._real, operation)

        async def call(*args: Any) -> Any:
            sent = Call(args[0], lambda: method(*args))
            return await self._script.perform(f"{self._name}.{operation}", sent)

        return call
