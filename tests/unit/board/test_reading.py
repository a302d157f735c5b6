"""What was fetched and not yet folded."""

import pytest

from board.reading import Fetched, LostRecord


def test_what_was_fetched_waits_until_it_is_folded() -> None:
    fetched = Fetched()
    assert not fetched.waiting(0)
    fetched.note(0, [4, 7])
    fetched.cross_out(0, 4)
    assert fetched.waiting(0)
    assert not fetched.waiting(1)
    fetched.cross_out(0, 7)
    assert not fetched.waiting(0)


def test_a_record_that_was_skipped_is_noticed_with_the_next_one() -> None:
    fetched = Fetched()
    fetched.note(3, [4, 5, 6])
    fetched.cross_out(3, 4)
    with pytest.raises(LostRecord, match="partition 3: offset 6 came instead of 5"):
        fetched.cross_out(3, 6)


def test_a_record_that_nobody_fetched_is_an_error() -> None:
    with pytest.raises(LostRecord):
        Fetched().cross_out(0, 0)


def test_a_seek_begins_anew_for_its_partition_only() -> None:
    fetched = Fetched()
    fetched.note(0, [4, 5])
    fetched.note(1, [8])
    fetched.forget(0)
    fetched.note(0, [2])
    fetched.cross_out(0, 2)
    assert fetched.waiting(1)
