"""Goes on while the API is away for a moment: who watches an order outlasts a restart of it."""

import math
import sys
import time
from collections.abc import Callable
from typing import Final, TypeVar

import httpx

from ingest.client.errors import Code, Failed

AnswerT = TypeVar("AnswerT")
RETRY_SECONDS: Final = 1.0


def outlast(ask: Callable[[], AnswerT], seconds: float = math.inf) -> AnswerT:
    """Return what ``ask`` returns, asking every second while the API does not answer.

    Says so on standard error, once, and when it is back. Raises what ``ask`` raises when the API
    has been away for ``seconds``, and at once what is no outage.
    """
    away = None
    while True:
        try:
            answer = ask()
        except (httpx.TransportError, Failed) as error:
            if isinstance(error, Failed) and error.code is not Code.UNREACHABLE:
                raise
            if away is None:
                away = time.monotonic()
                print("orders: the API does not answer; trying on", file=sys.stderr)
            if time.monotonic() - away >= seconds:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            if away is not None:
                print("orders: the API is back", file=sys.stderr)
            return answer
