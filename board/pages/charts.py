"""The last hour by minute: how orders began and ended, and how fast and how punctual they were."""

from typing import Any, Final

from nicegui import ui

from board.figures import Span
from board.fold import MINUTE_MS
from board.pages import texts

GREY: Final = "#8a94a0"
BLUE: Final = "#3b82f6"
ENDS: Final = {
    "shipped": "#2e9e57",
    "failed": "#d64541",
    "cancelled": GREY,
    "rejected": "#e67e22",
}


class Charts:
    """Two charts; ``show`` sends a browser only what has changed."""

    def __init__(self) -> None:
        bars = [_series(name, name.capitalize(), "bar", c, stack="e") for name, c in ENDS.items()]
        self._counts = _chart(
            "Orders per minute, last hour (UTC)",
            [*bars, _series("started", "Started", "line", BLUE)],
            [_axis("{value}", minInterval=1)],
        )
        self._times = _chart(
            "Time to ship and share in time per minute, last hour (UTC)",
            [
                _series("p50", "p50", "line", BLUE, symbol="circle"),
                _series("p95", "p95", "line", "#b45ce0", symbol="circle"),
                _series("in_time_share", "In time", "line", "#2e9e57", symbol="rect", yAxisIndex=1),
            ],
            [_axis("{value} s"), _axis("{value} %", min=0, max=100, splitLine={"show": False})],
        )

    def show(self, minutes: list[Span]) -> None:
        """Show these minutes."""
        _update(self._counts, minutes)
        _update(self._times, minutes)


def _update(chart: ui.echart, minutes: list[Span]) -> None:
    options = chart.options
    labels = [texts.clock(span.minute * MINUTE_MS)[:5] for span in minutes]
    data = {s["id"]: [_value(span, s["id"]) for span in minutes] for s in options["series"]}
    if options["xAxis"]["data"] == labels and all(
        series["data"] == data[series["id"]] for series in options["series"]
    ):
        return
    options["xAxis"]["data"] = labels
    for series in options["series"]:
        series["data"] = data[series["id"]]
    chart.update()


def _value(span: Span, name: str) -> float | None:
    value: float | None = getattr(span, name)
    if value is None or isinstance(value, int):
        return value
    # Cut, not rounded: 99.96 % is not told as 100.
    return int(value * 1000) / 10 if name == "in_time_share" else round(value, 2)


def _series(name: str, label: str, kind: str, colour: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    dots = {"showSymbol": "symbol" in more, "symbolSize": 4} if kind == "line" else {}
    return {"id": name, "name": label, "type": kind, "color": colour, "data": [], **dots, **more}


def _axis(text: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # ECharts options
    return {
        "type": "value",
        "axisLabel": {"color": GREY, "formatter": text},
        "splitLine": {"lineStyle": {"color": GREY, "opacity": 0.25}},
        **more,
    }


def _chart(title: str, series: list[dict[str, Any]], axes: list[dict[str, Any]]) -> ui.echart:
    right = 12 if len(axes) == 1 else 48
    with ui.card().classes("w-full q-pa-md gap-1"):
        ui.label(title).classes("text-sm font-bold opacity-80")
        chart = ui.echart(
            {
                "animation": False,
                "tooltip": {"trigger": "axis"},
                "legend": {"textStyle": {"color": GREY}, "top": 0},
                "grid": {
                    "left": 44,
                    "right": right,
                    "top": 58,
                    "bottom": 28,
                },
                "xAxis": {"type": "category", "data": [], "axisLabel": {"color": GREY}},
                "yAxis": axes,
                "series": series,
            }
        )
    return chart.classes("w-full h-64").mark("chart")
