"""Lanes and commit positions against a model: any completions, rebalances and failures."""

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingest.lanes import Bounds, Entry, Lanes

BOUNDS = Bounds(running=3, held=6, held_bytes=60, span=12)
PARTITIONS = (0, 1)


class LanesAgainstALog(RuleBasedStateMachine):
    """A log of records, read by owner after owner; each takes up at what was committed."""

    def __init__(self) -> None:
        super().__init__()
        self.log: dict[int, list[str]] = {partition: [] for partition in PARTITIONS}
        self.finished: set[tuple[int, int]] = set()
        self.finish_order: dict[tuple[int, str], list[int]] = defaultdict(list)
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.late: list[Entry[int]] = []
        self._new_owner()

    def _new_owner(self) -> None:
        self.lanes: Lanes[int] = Lanes(BOUNDS)
        self._assigned()

    def _assigned(self) -> None:
        self.read = dict(self.committed)
        self.running: list[Entry[int]] = []
        self.finish_order.clear()

    @rule(
        partition=st.sampled_from(PARTITIONS), order=st.sampled_from("abcd"), gap=st.integers(0, 2)
    )
    def a_record_is_written(self, partition: int, order: str, gap: int) -> None:
        self.log[partition] += [""] * gap + [order]

    @rule(partition=st.sampled_from(PARTITIONS), size=st.integers(0, 30))
    def a_record_is_read(self, partition: int, size: int) -> None:
        if self.lanes.full(partition):
            return
        log, at = self.log[partition], self.read[partition]
        while at < len(log) and not log[at]:
            at += 1
        if at < len(log):
            gated = log[at] == "d"
            self.lanes.take(partition, at, log[at], size, at, gated=gated)
            self.lanes.take(partition, at, log[at], size, at, gated=gated)
            self.read[partition] = at + 1

    @rule(starts=st.integers(0, 2))
    def what_may_run_is_dispatched(self, starts: int) -> None:
        chosen = self.lanes.dispatch(starts)
        assert sum(entry.gated for entry in chosen) <= starts
        self.running += chosen

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def one_finishes(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.running))
        self.running.remove(entry)
        self.lanes.finish(entry)
        self.finished.add((entry.partition, entry.offset))
        self.finish_order[entry.partition, entry.lane].append(entry.offset)

    @precondition(lambda self: self.late)
    @rule()
    def one_of_an_earlier_epoch_finishes(self) -> None:
        before = self.lanes.to_commit(), self.lanes.held, self.lanes.running
        self.lanes.finish(self.late.pop())
        assert (self.lanes.to_commit(), self.lanes.held, self.lanes.running) == before

    @rule(acknowledged=st.booleans())
    def finished_offsets_are_committed(self, acknowledged: bool) -> None:
        positions = self.lanes.to_commit()
        self.committed.update(positions)
        if acknowledged:
            self.lanes.committed(positions)
            assert self.lanes.to_commit() == {}

    @rule(drained=st.booleans())
    def partitions_are_revoked(self, drained: bool) -> None:
        self.lanes.withdraw()
        assert self.lanes.dispatch(100) == []
        if drained:
            while self.running:
                entry = self.running.pop()
                self.lanes.finish(entry)
                self.finished.add((entry.partition, entry.offset))
            self.committed.update(self.lanes.to_commit())
        self.lanes.revoke()
        self.late += self.running
        self._assigned()

    @rule()
    def the_process_is_killed(self) -> None:
        self.late.clear()
        self._new_owner()

    @invariant()
    def nothing_unfinished_is_committed(self) -> None:
        for partition, position in (self.committed | self.lanes.to_commit()).items():
            for offset in range(position):
                assert not self.log[partition][offset] or (partition, offset) in self.finished

    @invariant()
    def one_command_of_an_order_runs_at_a_time_and_in_order(self) -> None:
        lanes = [entry.lane for entry in self.running]
        assert len(lanes) == len(set(lanes))
        for offsets in self.finish_order.values():
            assert offsets == sorted(offsets)

    @invariant()
    def the_bounds_hold(self) -> None:
        assert len(self.running) == self.lanes.running <= BOUNDS.running
        # A partition may exceed its bounds by the one record that fills it.
        assert self.lanes.held <= BOUNDS.held * len(PARTITIONS)

    def teardown(self) -> None:
        """From any state, all that was written gets finished and committed."""
        for _ in range(10_000):
            for partition in PARTITIONS:
                self.a_record_is_read(partition, 1)
            self.running += self.lanes.dispatch(1)
            if self.running:
                self.lanes.finish(entry := self.running.pop(0))
                self.finished.add((entry.partition, entry.offset))
            elif all(self._read_to_the_end(partition) for partition in PARTITIONS):
                break
        for partition, log in self.log.items():
            wanted = {(partition, offset) for offset, order in enumerate(log) if order}
            assert wanted <= self.finished
        assert self.lanes.held == self.lanes.count == self.lanes.waiting_starts == 0

    def _read_to_the_end(self, partition: int) -> bool:
        return not any(self.log[partition][self.read[partition] :])


LanesAgainstALog.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None
)
TestLanes = LanesAgainstALog.TestCase


def test_a_stuck_order_holds_up_nobody_else_within_the_bound() -> None:
    lanes: Lanes[None] = Lanes(Bounds(running=2, held=50, span=1_000))
    lanes.take(0, 0, "stuck", 1, None)
    (stuck,) = lanes.dispatch(0)
    for offset in range(1, 999):
        lanes.take(0, offset, f"order-{offset % 7}", 1, None)
        for entry in lanes.dispatch(0):
            lanes.finish(entry)
        assert not lanes.full(0)
    assert lanes.to_commit() == {0: 0}
    lanes.take(0, 999, "one-more", 1, None)
    assert lanes.full(0), "what a crash would redeliver is bounded"
    lanes.finish(stuck)
    for entry in lanes.dispatch(0):
        lanes.finish(entry)
    assert lanes.to_commit() == {0: 1_000}
    assert lanes.eased(0)


def test_starts_that_wait_let_signals_to_other_orders_pass() -> None:
    lanes: Lanes[None] = Lanes()
    for offset in range(100):
        lanes.take(0, offset, f"new-{offset}", 1, None, gated=True)
    lanes.take(0, 100, "running", 1, None)
    lanes.take(0, 101, "new-5", 1, None)
    assert [entry.lane for entry in lanes.dispatch(0)] == ["running"]
    assert [entry.offset for entry in lanes.dispatch(3)] == [0, 1, 2]
    assert lanes.waiting_starts == 97
