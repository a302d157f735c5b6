"""The pages: the board, one order, dead letters."""

import board.pages.dead_letters as dead_letters
import board.pages.order as order
import board.pages.overview as overview
from board.pages.context import Board


def register(board: Board) -> None:
    """Make the pages known to NiceGUI; once a process."""
    overview.register(board)
    order.register(board)
    dead_letters.register(board)
