"""How long a request asks to wait for its outcome."""

import pytest

from ingest.api.commands import wait_seconds


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=10", 10),
        ('respond-async, WAIT="5"', 5),
        ("wait=0", 0),
        ("wait=0000000000005", 5),
        ("wait=61", 60),
        ("wait=" + "9" * 60_000, 60),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("await=5", None),
        ("", None),
    ],
)
def test_a_wait_is_whole_seconds_and_never_longer_than_allowed(
    prefer: str, seconds: int | None
) -> None:
    assert wait_seconds(prefer) == seconds
