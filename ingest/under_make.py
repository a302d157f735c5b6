"""Being run by make: end when make is gone, and keep Ctrl-C away from it.

make answers Ctrl-C by dying of SIGINT, which turns a clean end into an error, and tells its
recipe nothing when it is killed itself.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Final

LOOK_SECONDS: Final = 0.5


async def parent_gone() -> None:
    """Return when the process that started this one has ended, however it did."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells of it but looking
        await asyncio.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def own_terminal() -> Iterator[None]:
    """Be the terminal's foreground process group of one, so that Ctrl-C comes here alone.

    Does nothing without a terminal, in the background, or where this process leads its group
    already. Ctrl-Z is ignored meanwhile: it would stop this process and leave make waiting.
    """
    if not _shares_foreground():
        yield
        return
    others = os.getpgrp()
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # sent to who takes a terminal from outside
    os.setpgid(0, 0)
    os.tcsetpgrp(sys.stdin.fileno(), os.getpgrp())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the terminal may be gone by now
            os.tcsetpgrp(sys.stdin.fileno(), others)


def _shares_foreground() -> bool:
    try:
        foreground = os.tcgetpgrp(sys.stdin.fileno())
    except (OSError, ValueError):
        return False
    return foreground == os.getpgrp() != os.getpid()
