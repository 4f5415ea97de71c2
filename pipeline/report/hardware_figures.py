"""The charts of the hardware sections, as Vega-Lite specifications (see `figures` for what all charts share)."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from .theme import SERIES, SHAPES, chart_config

ROW_HEIGHT = 26


def relative_cost_chart(data: pd.DataFrame, series: list[str], description: str) -> dict[str, Any]:
    """Cost of each design relative to the dense network, by chip.

    Args:
        data: columns chip, design, percent, label.
        series: designs in order of their colours.
    """
    chips = list(dict.fromkeys(data["chip"]))
    count = len(series)
    legend = alt.Legend(title=None, orient="top", columns=2, symbolOpacity=1)
    points = (
        alt.Chart(data)
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            x=alt.X("percent:Q", title="predicted latency, % of the dense network's", scale=alt.Scale(zero=False)),
            y=alt.Y("chip:N", sort=chips, title=None, axis=alt.Axis(ticks=False, domain=False, grid=True)),
            yOffset=alt.YOffset("design:N", sort=series),
            color=alt.Color(
                "design:N", scale=alt.Scale(domain=series, range=list(_cycle(SERIES, count))), legend=legend
            ),
            shape=alt.Shape(
                "design:N", scale=alt.Scale(domain=series, range=list(_cycle(SHAPES, count))), legend=legend
            ),
            description="label:N",
            tooltip=["chip:N", "design:N", alt.Tooltip("percent:Q", format=".1f")],
        )
        .properties(width=480, height=max(1, count) * 14 * len(chips))
    )
    return _finish(points, description)


def parity_chart(data: pd.DataFrame, description: str, *, measured: str = "measured") -> dict[str, Any]:
    """Predicted against measured on logarithmic axes, with the diagonal.

    Args:
        data: columns measured, predicted, kind, label.
        measured: what the other axis shows.
    """
    kinds = sorted(data["kind"].unique())
    low, high = _decades(data[["measured", "predicted"]].to_numpy())
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    ends = pd.DataFrame({"measured": [low, high], "predicted": [low, high]})
    legend = alt.Legend(title=None, orient="right", symbolOpacity=1)
    line = alt.Chart(ends).mark_line(strokeDash=[4, 4], color="var(--ink)", aria=False)
    decades = np.arange(round(np.log10(low)), round(np.log10(high)) + 1)
    axis = alt.Axis(values=[10.0 ** float(decade) for decade in decades], format="~g")
    x = alt.X("measured:Q", title=f"{measured}, ms", scale=scale, axis=axis)
    y = alt.Y("predicted:Q", title="predicted, ms", scale=scale, axis=axis)
    points = (
        alt.Chart(data)
        .mark_point(filled=True, size=45, opacity=0.85)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "kind:N", scale=alt.Scale(domain=kinds, range=list(_cycle(SERIES, len(kinds)))), legend=legend
            ),
            shape=alt.Shape(
                "kind:N", scale=alt.Scale(domain=kinds, range=list(_cycle(SHAPES, len(kinds)))), legend=legend
            ),
            description="label:N",
            tooltip=["label:N"],
        )
    )
    return _finish(alt.layer(line.encode(x=x, y=y), points).properties(width=380, height=340), description)


def coverage_chart(data: pd.DataFrame, nominal: float, description: str) -> dict[str, Any]:
    """Share of rows inside intervals, by device, and the share they promise.

    Args:
        data: columns device, percent, label.
        nominal: the promised share, percent.
    """
    x = alt.X("percent:Q", title="rows inside their interval, %", scale=alt.Scale(domain=[0, 100]))
    y = alt.Y("device:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False))
    bars = (
        alt.Chart(data)
        .mark_bar(color=SERIES[0], height=14)
        .encode(x=x, y=y, description="label:N", tooltip=["label:N"])
    )
    line = alt.Chart(pd.DataFrame({"percent": [nominal]})).mark_rule(strokeDash=[4, 4], color="var(--ink)", aria=False)
    chart = alt.layer(bars, line.encode(x="percent:Q")).properties(width=420, height=ROW_HEIGHT * len(data))
    return _finish(chart, description)


def power_chart(data: pd.DataFrame, description: str) -> dict[str, Any]:
    """Measured (filled) and predicted (open) power against achieved FLOP/s.

    Args:
        data: columns device, busy, measured, predicted, label.
    """
    devices = sorted(data["device"].unique())
    scale = alt.Scale(domain=devices, range=list(_cycle(SERIES, len(devices))))
    shapes = alt.Scale(domain=devices, range=list(_cycle(SHAPES, len(devices))))
    base = alt.Chart(data).encode(
        x=alt.X("busy:Q", title="achieved TFLOP/s", scale=alt.Scale(type="log")),
        color=alt.Color("device:N", scale=scale, legend=alt.Legend(title=None, orient="right")),
        shape=alt.Shape("device:N", scale=shapes, legend=alt.Legend(title=None, orient="right")),
        tooltip=["label:N"],
    )
    title = "mean power, W"
    measured = base.mark_point(filled=True, size=40).encode(y=alt.Y("measured:Q", title=title), description="label:N")
    predicted = base.mark_point(filled=False, size=40, aria=False).encode(y=alt.Y("predicted:Q", title=title))
    return _finish(alt.layer(measured, predicted).properties(width=420, height=300), description)


def _decades(values: np.ndarray) -> tuple[float, float]:
    """The smallest range of whole decades that holds all values."""
    return 10.0 ** np.floor(np.log10(values.min())), 10.0 ** np.ceil(np.log10(values.max()))


def _cycle(values: tuple[str, ...], count: int) -> tuple[str, ...]:
    return tuple(values[position % len(values)] for position in range(count))


def _finish(chart: alt.TopLevelMixin, description: str) -> dict[str, Any]:
    return chart.properties(description=description).to_dict() | {"config": chart_config()}
