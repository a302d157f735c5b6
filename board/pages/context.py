"""What every page works with."""

from dataclasses import dataclass

from board.figures import Shared
from board.follow import Follower
from board.rest import Rest, Watch
from board.rows import Order


@dataclass(frozen=True, slots=True)
class Board:
    """The parts behind the pages, one set for all browsers."""

    follower: Follower
    shared: Shared
    rest: Rest
    watch: Watch
    temporal_ui_url: str

    def find(self, order_id: str) -> Order | None:
        """Return an order that the tables still remember."""
        for view in self.follower.views.values():
            if order := view.find(order_id):
                return order
        return None
