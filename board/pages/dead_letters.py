"""Records that could not become a command: why, and the button that sends one again."""

from typing import Final

from nicegui import ui

from board.pages import texts
from board.pages.context import Board
from board.pages.layout import page
from board.rest import ApiError, Json

REFRESH_SECONDS: Final = 1.0


def register(board: Board) -> None:
    """Make the page known."""

    @ui.page("/dead-letters")
    def dead_letters() -> None:
        with page(board, "Dead letters"):
            _DeadLetters(board)


class _DeadLetters:
    """One browser's view."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._shown: list[Json] | None = None
        self._results: dict[str, str] = {}
        self._labels: dict[str, ui.label] = {}
        title = ui.label("Dead letters").classes("text-2xl font-bold")
        title.props("role=heading aria-level=1")
        ui.label(
            "Records of the command topic that can never become a command, newest first. "
            "Sending one again is safe: it keeps its id, so what took effect does so once."
        ).classes("opacity-80")
        self._trouble = ui.label().classes("text-negative font-medium").mark("trouble")
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
        if letters == self._shown:
            return
        self._shown = letters
        self._letters.clear()
        with self._letters:
            if not letters:
                ui.label("There are none.").classes("text-lg")
            for letter in reversed(letters):
                self._letter(letter)

    def _letter(self, letter: Json) -> None:
        with ui.card().classes("w-full q-pa-md gap-1").mark(f"letter {letter['id']}"):
            with ui.row().classes("w-full items-center gap-3"):
                ui.label(letter["id"]).classes("font-bold wrap-anywhere")
                attempts = letter["attempts"]
                written = texts.date_and_time(letter["written"])
                ui.label(f"{written}, {attempts} attempt{'s' if attempts > 1 else ''}").classes(
                    "text-sm opacity-80"
                )
                ui.space()
                button = ui.button("Replay", icon="replay").props("dense outline")
            ui.label(f"{letter['error_class']}: {letter['error']}").classes(
                "text-negative font-medium wrap-anywhere"
            )
            ui.label(f"key: {letter['key'] or '(none)'}").classes("text-sm wrap-anywhere")
            ui.label(letter["value"] or "(no value)").classes("font-mono text-sm wrap-anywhere")
            result = ui.label().classes("font-medium wrap-anywhere").mark("outcome")
            result.props("role=status aria-live=polite")
            result.set_text(self._results.get(letter["id"], ""))
            self._labels[letter["id"]] = result
        button.on_click(lambda: self._replay(letter, button))

    async def _replay(self, letter: Json, button: ui.button) -> None:
        button.disable()
        self._tell(letter, "Sent again; waiting for its outcome ...")
        try:
            outcome = await self._board.rest.replay(letter)
            self._tell(letter, outcome.text)
        except ApiError as error:
            self._tell(letter, f"Not sent: {error}")
        finally:
            if not button.is_deleted:
                button.enable()

    def _tell(self, letter: Json, text: str) -> None:
        """Keep the text: a dead letter that comes back is drawn anew."""
        self._results[letter["id"]] = text
        self._labels[letter["id"]].set_text(text)
