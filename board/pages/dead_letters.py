"""Records that could not become a command: why, and the button that sends one again."""

from typing import Final

from nicegui import ui

from board.pages import texts
from board.pages.context import Board
from board.pages.layout import page
from board.rest import ApiError, Json, Rest

REFRESH_SECONDS: Final = 1.0


def register(board: Board) -> None:
    """Make the page known."""

    @ui.page("/dead-letters")
    def dead_letters() -> None:
        with page(board, "Dead letters"):
            _DeadLetters(board)


class _DeadLetters:
    """One browser's view; a card stays where it is, and with it the focus."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._cards: dict[str, _Card] = {}
        title = ui.label("Dead letters").classes("text-2xl font-bold")
        title.props("role=heading aria-level=1")
        ui.label(
            "Records of the command topic that can never become a command, newest first. "
            "Sending one again is safe: it keeps its id, so what took effect does so once."
        ).classes("opacity-80")
        self._trouble = ui.label().classes("text-negative font-medium").mark("trouble")
        self._none = ui.label("There are none.").classes("text-lg")
        self._none.visible = False
        self._letters = ui.column().classes("w-full gap-3").mark("letters")
        ui.timer(REFRESH_SECONDS, self.refresh, immediate=True)

    async def refresh(self) -> None:
        """Ask the API and show what it says."""
        try:
            letters = await self._board.rest.dead_letters()
        except ApiError as error:
            self._trouble.set_text(str(error))
            return
        self._trouble.set_text("")
        self._none.visible = not letters
        for gone in self._cards.keys() - {letter["id"] for letter in letters}:
            self._cards.pop(gone).root.delete()
        for letter in letters:
            if letter["id"] not in self._cards:
                with self._letters:
                    self._cards[letter["id"]] = _Card(self._board.rest)
            self._cards[letter["id"]].show(letter)


class _Card:
    """One dead letter, put on top of those that are there."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._letter: Json = {}
        self._busy = False
        with ui.card().classes("w-full q-pa-md gap-1") as self.root:
            with ui.row().classes("w-full items-center gap-3"):
                self._id = ui.label().classes("font-bold wrap-anywhere")
                self._written = ui.label().classes("text-sm opacity-80")
                ui.space()
                self._button = ui.button("Replay", icon="replay", on_click=self._replay)
                self._button.props("dense outline")
            self._error = ui.label().classes("text-negative font-medium wrap-anywhere")
            self._key = ui.label().classes("text-sm wrap-anywhere")
            self._value = ui.label().classes("font-mono text-sm wrap-anywhere")
            self._result = ui.label().classes("font-medium wrap-anywhere").mark("outcome")
            self._result.props("role=status aria-live=polite")
        self.root.move(target_index=0)

    def show(self, letter: Json) -> None:
        """Show what is known of the letter now."""
        if letter == self._letter:
            return
        self._letter = letter
        attempts = letter["attempts"]
        tries = f"{attempts} attempt{'s' if attempts > 1 else ''}"
        self._id.set_text(letter["id"])
        self._written.set_text(f"{texts.date_and_time(letter['written'])}, {tries}")
        self._error.set_text(f"{letter['error_class']}: {letter['error']}")
        self._key.set_text(f"key: {letter['key'] or '(none)'}")
        self._value.set_text(letter["value"] or "(no value)")

    async def _replay(self) -> None:
        if self._busy:
            return
        self._busy = True
        self._button.props("loading")  # disabled, it would lose the focus
        self._result.set_text("Sent again; waiting for its outcome ...")
        try:
            outcome = await self._rest.replay(self._letter)
            self._result.set_text(outcome.text)
        except ApiError as error:
            self._result.set_text(f"Not sent: {error}")
        finally:
            self._busy = False
            self._button.props(remove="loading")
