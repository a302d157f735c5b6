"""The newest dead letters, kept from their topic."""

from collections import OrderedDict
from typing import Final

from aiokafka import ConsumerRecord

from ingest.decode import original_place
from ingest.replay import DeadLetter

LETTERS_KEPT: Final = 1_000


class Letters:
    """The newest dead letters by id; of several about one record the newest."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, DeadLetter] = OrderedDict()

    def note(self, record: ConsumerRecord[bytes, bytes]) -> None:
        """Take in a record of the topic of dead letters."""
        topic, partition, offset = original_place(record)
        letter = DeadLetter(f"{topic}-{partition}-{offset}", record.partition, record)
        self._found[letter.id] = letter
        self._found.move_to_end(letter.id)
        if len(self._found) > LETTERS_KEPT:
            self._found.popitem(last=False)

    def newest(self, limit: int) -> list[DeadLetter]:
        """Return the last ``limit``, oldest first."""
        return list(self._found.values())[-limit:]
