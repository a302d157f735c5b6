"""What all pages have: header, theme, what is away, how far the tables are."""

import contextlib
from collections.abc import Iterator
from typing import Final

from nicegui import ui

from board.pages.context import Board

TICK_SECONDS: Final = 0.5

CSS: Final = """
body.body--light { background: #f4f6f8; }
.nicegui-content { padding: 0.75rem; gap: 0.75rem; }
.figure { min-width: 6.5rem; flex: 1 1 6.5rem; }
.figure .value { font-size: 1.6rem; line-height: 1.15; font-weight: 600; white-space: nowrap; }
.figure .name { font-size: 0.8rem; opacity: 0.8; }
.q-table th { font-weight: 600; }
.q-table td { white-space: nowrap; }
.order-id { display: block; max-width: 16rem; overflow: hidden; text-overflow: ellipsis; }
.event { border-bottom: 1px solid rgba(128, 128, 128, 0.35); }
/* The theme's colours are made for white; on black they have to be lighter. */
.body--dark {
  --q-primary: #3f83e6 !important; --q-negative: #e5554c !important;
  --q-positive: #2b9a52 !important; --q-warning: #b97a12 !important;
}
@media (max-width: 599px) {
  .order-id { max-width: 7rem; }
  .q-table td, .q-table th { padding-left: 4px !important; padding-right: 4px !important; }
}
.wrap-anywhere { overflow-wrap: anywhere; }
a:focus-visible, button:focus-visible, [tabindex]:focus-visible {
  outline: 2px solid currentColor; outline-offset: 2px; }
"""

# Without a choice the browser's preference holds; a choice is kept in the browser alone.
TOGGLE_THEME: Final = """() => {
  Quasar.Dark.toggle();
  localStorage.setItem("orders-dark", Quasar.Dark.isActive);
}"""
RESTORE_THEME: Final = """
const chosen = localStorage.getItem("orders-dark");
if (chosen) Quasar.Dark.set(chosen === "true");
"""

# NiceGUI makes a new component of a slot at every update, so that each tick replaced what the
# table shows, and focus and half-done clicks were lost. The same template is the same component.
KEEP_SLOTS: Final = """
if (!globalThis.keptSlots) {
  const kept = (globalThis.keptSlots = {}), h = Vue.h;
  const isSlot = (type) => type?.template && type.props?.props;
  globalThis.Vue = { ...Vue, h: (type, ...more) =>
    h(isSlot(type) ? (kept[type.template] ??= type) : type, ...more) };
}
"""


@contextlib.contextmanager
def page(board: Board, title: str) -> Iterator[None]:
    """Lay out one page; the block fills its body."""
    ui.page_title(f"{title} · Orders")
    ui.add_css(CSS)
    ui.colors(primary="#1f5fbf", positive="#1b7f3b", negative="#b3261e", warning="#8a5a00")
    ui.run_javascript(RESTORE_THEME)
    ui.run_javascript(KEEP_SLOTS)
    with ui.header().classes("items-center gap-3 q-py-sm q-px-md no-wrap"):
        ui.link("Orders", "/").classes("text-white text-lg font-bold no-underline").mark("home")
        ui.link("Dead letters", "/dead-letters").classes("text-white")
        ui.space()
        state = ui.label().classes("text-sm").mark("tables")
        theme = ui.button(icon="contrast").on("click", js_handler=TOGGLE_THEME)
        theme.props('flat round dense color=white aria-label="Light or dark"')
    banner = ui.column().classes("banner w-full gap-1")
    body = ui.column().classes("w-full max-w-7xl mx-auto gap-3").props("role=main")
    told: list[tuple[str, str]] = []

    def tell() -> None:
        status = board.follower.status
        state.set_text(tables_text(board))
        lines = [("warning", text) for text in board.watch.problems]
        if status.problem:
            lines.insert(0, ("negative", f"The figures stand still: {status.problem}"))
        elif not status.complete:
            lines.insert(0, ("primary", tables_text(board)))
        if lines == told:
            return
        told[:] = lines
        banner.clear()
        with banner:
            for colour, text in lines:
                with ui.row().classes(
                    f"w-full bg-{colour} text-white rounded q-px-md q-py-sm wrap-anywhere"
                ):
                    ui.label(text).props("role=status")

    tell()
    ui.timer(TICK_SECONDS, tell)
    with body:
        yield


def tables_text(board: Board) -> str:
    """Return in a few words how far the tables are."""
    status = board.follower.status
    if status.problem:
        return "standing still"
    if not status.complete:
        if status.total:
            percent = min(99, 100 * status.done // status.total)
            return f"catching up: {status.done:,} of {status.total:,} records ({percent} %)"
        return "catching up"
    return f"{status.behind:,} events behind" if status.behind > 100 else "live"
