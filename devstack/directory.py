"""One stack at a time in a directory."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from devstack.cache import Say
from devstack.errors import InUse, StackError

_LEFTOVERS_SECONDS = 30.0
"""Longer than the guardian's grace: what a killed stack left behind ends within that."""

_DYING_SECONDS = 2.0
"""A killed owner holds the lock until the kernel has closed its files, which takes a moment."""


async def take_directory(directory: Path, say: Say) -> TextIO:
    """Make `directory` and lock it; closing the file lets go of it.

    The servers inherit the lock, so it is held until the last of them has ended. If its owner was
    killed, this waits until they have; a living owner is given two seconds to end.

    Raises:
        InUse: a living process holds it, or leftovers do not end.
        StackError: the directory cannot be written to.
    """
    lock = _open(directory)
    try:
        await _take(lock, directory, say)
    except BaseException:
        lock.close()
        raise
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _open(directory: Path) -> TextIO:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return (directory / "lock").open("a+")
    except OSError as error:
        raise StackError(f"cannot use {directory}: {error}; choose or make another") from None


async def _take(lock: TextIO, directory: Path, say: Say) -> None:
    began, told = time.monotonic(), False
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holders = set(_holders(directory / "lock"))
            owner = _owner(lock)
            if owner in holders and time.monotonic() - began > _DYING_SECONDS:
                raise InUse(
                    f"process {owner} uses {directory} already: end it first "
                    f"(Ctrl-C in its terminal, or kill {owner}), or use another directory"
                ) from None
        if not told and owner not in holders:
            told = True
            say(f"waiting for the servers of an earlier run in {directory} to end")
        if time.monotonic() - began > _LEFTOVERS_SECONDS:
            pids = " ".join(map(str, sorted(holders - {os.getpid()}))) or "unknown"
            raise InUse(
                f"servers of an earlier run still use {directory} (pids: {pids}): end them first"
            )
        await asyncio.sleep(0.1)


def _owner(lock: TextIO) -> int | None:
    """The process that took the lock last; it may have ended."""
    lock.seek(0)
    text = lock.read().strip()
    return int(text) if text else None


def _holders(path: Path) -> Iterator[int]:
    """The processes that have the lock file open; this one is among them."""
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if fd.readlink() == path:
                yield int(fd.parts[2])
        except OSError:  # gone meanwhile, or somebody else's
            continue
