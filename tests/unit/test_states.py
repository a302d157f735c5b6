from hypothesis import given
from hypothesis import strategies as st

from domain.events import LEADS_TO, TYPE_OF, state_after
from domain.states import MAY_BECOME, TERMINAL, State, may_become

moves = st.lists(st.sampled_from(State), max_size=12)


def walk(wanted: list[State]) -> list[State]:
    """Take each wanted move that is allowed from where the order is then."""
    now: State | None = None
    taken: list[State] = []
    for then in wanted:
        if may_become(now, then):
            now = then
            taken.append(then)
    return taken


def test_every_state_has_its_moves() -> None:
    assert set(MAY_BECOME) == {None, *State}


@given(moves)
def test_nothing_follows_an_end(wanted: list[State]) -> None:
    assert not any(state in TERMINAL for state in walk(wanted)[:-1])


@given(moves)
def test_a_charged_order_ends_shipped_or_refunded_first(wanted: list[State]) -> None:
    taken = walk(wanted)
    if State.CHARGED in taken and taken[-1] in TERMINAL and taken[-1] != State.SHIPPED:
        assert State.REFUNDED in taken[taken.index(State.CHARGED) :]


@given(moves)
def test_only_a_charged_and_dispatched_order_ships(wanted: list[State]) -> None:
    taken = walk(wanted)
    if State.SHIPPED in taken:
        assert [s for s in taken if s in {State.CHARGED, State.DISPATCHED}] == [
            State.CHARGED,
            State.DISPATCHED,
        ]


def test_every_state_can_be_reached_and_left_unless_it_is_an_end() -> None:
    reached = set().union(*MAY_BECOME.values())
    assert reached == set(State)
    assert {state for state in State if not MAY_BECOME[state]} == TERMINAL


def test_every_event_type_says_what_state_it_leads_to() -> None:
    assert set(LEADS_TO) == set(TYPE_OF.values())
    assert {state for state in LEADS_TO.values() if state} == set(State)


def test_an_event_without_a_state_of_its_own_leaves_the_order_where_it_is() -> None:
    assert state_after(State.CHARGED, "order.address_updated") is State.CHARGED
    assert state_after(None, "order.command_rejected") is None
