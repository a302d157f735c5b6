"""How many orders may be in motion follows what the machine can do in time."""

from ingest.window import FIRST, LEAST, Window

TIME = 15.0
SLOW_AFTER = 5.0


class Machine:
    """Works off so many orders a second, oldest first; starts wait without end."""

    def __init__(self, rate: float, window: Window) -> None:
        self.rate = rate
        self.window = window
        self.now = 0.0
        self.begun: list[float] = []
        self.taken: list[float] = []
        self._done = 0.0

    def run(self, seconds: float, step: float = 0.05) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += step
            self._done = min(self._done + self.rate * step, len(self.begun))
            ended = int(self._done)
            self._done -= ended
            self.taken += [self.now - at for at in self.begun[:ended]]
            del self.begun[:ended]
            slow = sum(self.now - at > SLOW_AFTER for at in self.begun)
            self.window.adjust(len(self.begun), slow, ended, self.now)
            self.begun += [self.now] * max(0, self.window.size - len(self.begun))


def test_on_a_slow_machine_every_order_is_in_time() -> None:
    machine = Machine(rate=4, window=Window(200))
    machine.run(300)
    assert len(machine.taken) > 0.95 * 4 * 300, "and it is never left idle"
    assert max(machine.taken) < TIME


def test_on_a_fast_machine_the_window_opens_to_its_bound() -> None:
    machine = Machine(rate=100, window=Window(200))
    machine.run(30)
    assert machine.window.size == 200
    assert max(machine.taken) < SLOW_AFTER


def test_a_machine_that_gets_slower_is_given_less() -> None:
    machine = Machine(rate=40, window=Window(200))
    machine.run(60)
    before = machine.window.size
    machine.rate = 10
    machine.run(60)
    machine.taken.clear()
    machine.run(60)
    assert machine.window.size < before / 2
    assert max(machine.taken) < TIME


def test_few_slow_orders_close_nothing() -> None:
    window = Window(200, first=100)
    window.adjust(in_motion=100, slow=9, ended=0, now=0)
    assert window.size == 100


def test_the_window_never_closes_and_never_passes_its_bound() -> None:
    small, window = Window(2), Window(200)
    for now in range(1_000):
        window.adjust(in_motion=50, slow=50, ended=0, now=now)
        small.adjust(in_motion=2, slow=2, ended=0, now=now)
    assert (window.size, small.size) == (LEAST, 2)
    for now in range(1_000):
        window.adjust(in_motion=300, slow=0, ended=50, now=now)
    assert window.size == 200


def test_what_was_hardly_used_does_not_grow() -> None:
    window = Window(200)
    window.adjust(in_motion=2, slow=0, ended=2, now=0)
    assert window.size == FIRST
