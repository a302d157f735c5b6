"""Spares Temporal's client a walk that changes nothing.

For each workflow task temporalio (1.35) walks all payloads three times on the way in and three
times on the way out, for a codec and for a store outside, whether there are any or not. That was
a fifth of a worker's Python (docs/bench/report.md). Converters with either are walked as before.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from temporalio.bridge import worker as bridge
from temporalio.converter import DataConverter
from temporalio.converter._extstore import StorageOperationMetrics

Walk = Callable[..., Awaitable[StorageOperationMetrics]]

_WALKS: Final = ("decode_activation", "encode_completion")


def skip_needless_walks() -> None:
    """Let workers of this process walk only where the converter has something to do."""
    for name in _WALKS:
        walk = getattr(bridge, name)
        if not hasattr(walk, "walks"):
            setattr(bridge, name, where_needed(walk))


def where_needed(walk: Walk) -> Walk:
    """Return ``walk``, left out where the converter has neither a codec nor a store."""

    async def maybe(message: Any, converter: DataConverter, **how: Any) -> StorageOperationMetrics:  # noqa: ANN401
        if converter.payload_codec is None and converter.external_storage is None:
            return StorageOperationMetrics()
        return await walk(message, converter, **how)

    maybe.walks = walk  # type: ignore[attr-defined]
    return maybe
