"""Lets aiokafka read records whose header keys are not UTF-8.

Kafka does not look into header keys and librdkafka (kcat) sends any bytes, but aiokafka 0.14
raises ``UnicodeDecodeError`` out of ``getmany`` for such a record, again at every try: one record
would stop its partition for ever. Here such keys come out with escapes (``\\xff``) instead.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_BEFORE_LENGTH = 8
_BEFORE_RECORDS = 12


def tolerate_any_header_key() -> None:
    """Make all consumers of this process read what ``_Records`` reads."""
    fetcher.MemoryRecords = _Records


class _Records:
    """A fetched chunk of a partition: batches, of which this also knows the bytes."""

    def __init__(self, data: bytes) -> None:
        self._records: Any = MemoryRecords(data)
        self._data = memoryview(data)
        self._at = 0

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def size_in_bytes(self) -> int:
        return int(self._records.size_in_bytes())

    def next_batch(self) -> Any:  # noqa: ANN401 - one of aiokafka's batches, with one thing changed
        batch: Any = self._records.next_batch()
        length_at = self._at + _BEFORE_LENGTH
        length = int.from_bytes(self._data[length_at : length_at + 4], "big")
        begin, self._at = self._at, self._at + _BEFORE_RECORDS + length
        return _Batch(batch, self._data[begin : self._at]) if batch.magic >= 2 else batch


class _Batch:
    """aiokafka's batch; only when its iteration fails it is read again, slowly and leniently."""

    def __init__(self, batch: Any, data: memoryview) -> None:  # noqa: ANN401
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._batch, name)

    def __next__(self) -> Any:  # noqa: ANN401 - how aiokafka reads the one record of a control batch
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        done = 0
        try:
            for record in self._batch:
                done += 1
                yield record
        except (UnicodeDecodeError, CorruptRecordException) as error:
            if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                raise
            yield from islice(_leniently(self._data), done, None)


class _LenientBytes(bytearray):
    """Bytes whose slices decode to something in any case."""

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401
        found = super().__getitem__(at)
        return _LenientBytes(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "") -> str:
        return bytes(self).decode(encoding, errors or "backslashreplace")


def _leniently(data: memoryview) -> Iterator[Any]:
    batch: Any = iter(_DefaultRecordBatchPy(data))  # uncompressed from here on
    batch._buffer = _LenientBytes(batch._buffer)  # noqa: SLF001
    yield from batch
