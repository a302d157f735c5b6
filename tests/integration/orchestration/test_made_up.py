"""Made-up stories: hypothesis makes up commands, faults and crashes, the promises have to hold.

The real workflow, its activities on a real PostgreSQL, partners over HTTP and a worker that is
really killed; Temporal's clock skips what nobody waits for. A failure prints the steps it takes.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from domain.commands import (
    ApproveOrder,
    CancelOrder,
    Command,
    RejectOrder,
    StartOrder,
    UpdateAddress,
)
from domain.model import Address, Item
from tests.integration.orchestration.made_up_world import World, world
from tests.integration.orchestration.promises import hold_at_every_moment, hold_in_the_end
from tests.integration.orchestration.test_crashes import REFUND, REVIEW, SUNNY
from tests.support.skipping import skipping_server
from tests.unit.orchestration.orders import HOME, NOWHERE
from tests.unit.orchestration.partners import (
    declines,
    hangs,
    hangs_after_effect,
    raises,
    raises_after_effect,
    works_late,
)

AMOUNTS: Final = st.sampled_from([None, 90_000, None, 90_000, None, 6666])
PLACES: Final = st.sampled_from([HOME, HOME, HOME, NOWHERE])
OPERATIONS: Final = st.sampled_from(
    [
        *("sales.receive", "screening.validate", "warehouse.prepare", "sales.confirm_shipped"),
        *("payments.charge", "payments.find", "payments.void", "payments.refund"),
        *("carrier.dispatch", "carrier.withdraw"),
    ]
)
TROUBLES: Final = st.sampled_from(
    [raises, raises_after_effect, hangs, hangs_after_effect, works_late]
)

_names = (f"M{number}" for number in itertools.count())


class MadeUp(RuleBasedStateMachine):
    """A few orders at a time; each step is one thing that somebody does to them."""

    names = Bundle("names")

    def __init__(self, made: World, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.world, self._loop = made, loop
        self._mine: list[str] = []
        self._sent: list[tuple[str, Command]] = []
        self._numbers = itertools.count()

    @initialize(target=names, amount=AMOUNTS, place=PLACES)
    def the_first_starts(self, amount: int | None, place: Address) -> str:
        return self._start(self._new(), amount, place)

    @rule(target=names, amount=AMOUNTS, place=PLACES)
    def another_starts(self, amount: int | None, place: Address) -> str:
        return self._start(self._new(), amount, place)

    @rule(target=names)
    def one_will_start_later(self) -> str:
        return self._new()

    @rule(name=names, amount=AMOUNTS, place=PLACES)
    def starts(self, name: str, amount: int | None, place: Address) -> None:
        self._start(name, amount, place)

    @rule(name=names)
    def is_cancelled(self, name: str) -> None:
        self._send(name, CancelOrder(**self._who(name), reason="no need", cancelled_by="me"))

    @rule(name=names)
    def is_moved(self, name: str) -> None:
        who = self._who(name)
        place = Address(street=who["command_id"], city="Anytown", state="CA", zip="54321")
        self._send(name, UpdateAddress(**who, new_address=place, updated_by="me"))

    @rule(name=names)
    def is_approved(self, name: str) -> None:
        self._send(name, ApproveOrder(**self._who(name), reviewed_by="boss"))

    @rule(name=names)
    def is_rejected(self, name: str) -> None:
        self._send(name, RejectOrder(**self._who(name), reviewed_by="boss"))

    @rule(back=st.integers(0, 3))
    def hears_a_command_again(self, back: int) -> None:
        for name, command in self._sent[::-1][back : back + 1]:
            self._run(self.world.send(name, command))

    @rule(name=names, moment=st.integers(1, 8))
    def gets_on(self, name: str, moment: int) -> None:
        self._run(self.world.goes_on(name, moment))

    @rule(seconds=st.sampled_from([1, 10, 100, 4000]))
    def time_passes(self, seconds: int) -> None:
        self._run(self.world.passes(seconds))

    @rule(operation=OPERATIONS, trouble=TROUBLES, times=st.integers(1, 6))
    def a_partner_is_in_trouble(self, operation: str, trouble: Any, times: int) -> None:
        self.world.orders.script.next[operation] += [trouble] * times

    @rule(operation=st.sampled_from(["screening.validate", "carrier.dispatch"]))
    def a_partner_says_no(self, operation: str) -> None:
        self.world.orders.script.next[operation].append(declines)

    @rule(point=st.sampled_from(SUNNY + REVIEW + REFUND))
    def the_worker_will_die(self, point: str) -> None:
        self.world.dies_at(point)

    @rule()
    def the_worker_dies(self) -> None:
        self.world.dies()

    @invariant()
    def promises_hold(self) -> None:
        for name in self._mine:
            self._run(hold_at_every_moment(self.world.orders.db, self.world.orders.id(name)))

    def teardown(self) -> None:
        told = [name for name in self._mine if self.world.asked[name]]
        self._run(self.world.all_over(told))
        for name in [one for one in told if one not in self.world.left_behind]:
            order_id = self.world.orders.id(name)
            self._run(hold_in_the_end(self.world.orders.db, order_id, self.world.asked[name]))
            self._run(self.world.decided_in_time(name))
            self.world.ends[str(self._run(self.world.stands(name))[0])] += 1

    def _new(self) -> str:
        self._mine.append(next(_names))
        return self._mine[-1]

    def _start(self, name: str, amount: int | None, place: Address) -> str:
        more: dict[str, Any] = {}
        if amount:
            more = {"items": (Item(sku="S", quantity=1, unit_price=amount),), "currency": "USD"}
        self._send(name, StartOrder(**self._who(name), initial_address=place, **more))
        return name

    def _who(self, name: str) -> dict[str, Any]:
        return {
            "order_id": self.world.orders.id(name),
            "command_id": f"c{next(self._numbers)}",
        }

    def _send(self, name: str, command: Command) -> None:
        self._sent.append((name, command))
        self._run(self.world.send(name, command))

    def _run(self, step: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result()


@pytest.fixture
async def made(
    db: asyncpg.Pool, db_url: str, tmp_path: Path, unique: Callable[[str], str]
) -> AsyncIterator[World]:
    async with (
        skipping_server(tmp_path / "server") as environment,
        world(environment, db, db_url, tmp_path, unique) as made,
    ):
        yield made


async def _make_up(made: World, examples: int, steps: int, *, anew: bool) -> None:
    """Hypothesis waits for each step, so it gets a thread of its own."""
    loop = asyncio.get_running_loop()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=not anew,
        database=None,
        phases=(Phase.generate,),  # to shrink a story would take longer than to read it
        suppress_health_check=list(HealthCheck),
    )
    machine: Any = lambda: MadeUp(made, loop)  # noqa: E731 - all that is asked for is a factory
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=chosen)
    lost = len(made.left_behind)
    print(f"{dict(made.ends)}, {made.deaths} deaths of the worker, {lost} tasks lost by the server")
    assert lost <= 1 + sum(made.ends.values()) / 20
    assert made.deaths
    assert len(made.ends) >= 3, "hardly anything has been made up"


async def test_whatever_is_made_up_the_promises_hold(made: World) -> None:
    await _make_up(made, examples=6, steps=20, anew=False)


@pytest.mark.chaos
async def test_whatever_is_made_up_anew_the_promises_hold(made: World) -> None:
    await _make_up(made, examples=60, steps=30, anew=True)
