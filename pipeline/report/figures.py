"""The charts of the report, as Vega-Lite specifications.

One specification gives the SVG in the page, the SVG file and, on first hover or focus, the interactive figure.
Colour never stands alone: series differ in shape and dash too, and every mark names itself to a screen reader.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from .theme import SERIES, SHAPES, chart_config

DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 4], [1, 3], [10, 2, 2, 2])
ROW_HEIGHT = 30


def accuracy_chart(data: pd.DataFrame, chance: float, description: str) -> dict[str, Any]:
    """Accuracy and difference to the baseline of each experiment, with bounds.

    Args:
        data: columns experiment, kind (experiment | control), accuracy, accuracy_low, accuracy_high, difference,
            difference_low, difference_high, label, difference_label; shares in percent, differences in points.
        chance: accuracy of guessing, percent.
        description: the figure in words.
    """
    names = alt.Axis(labelPadding=8, ticks=False, domain=False)
    # An explicit domain keeps the rows of both panels level where one has no difference to show.
    rows = alt.Scale(domain=list(data["experiment"]))
    kinds = alt.Scale(domain=["experiment", "control"], range=[SERIES[0], SERIES[1]])
    style = {
        "color": alt.Color("kind:N", scale=kinds, legend=alt.Legend(title=None, orient="top")),
        "shape": alt.Shape("kind:N", scale=alt.Scale(domain=["experiment", "control"], range=["circle", "diamond"])),
    }
    height = ROW_HEIGHT * len(data)

    def panel(prefix: str, label: str, title: str, zero: float, width: int, axis: alt.Axis | None) -> Any:
        low, middle, high = f"{prefix}_low", prefix, f"{prefix}_high"
        base = alt.Chart(data).encode(y=alt.Y("experiment:N", scale=rows, title=None, axis=axis))
        # More ticks than this, and Vega drops every other label, the zero perhaps among them.
        ticks = alt.Axis(tickCount=4)
        x = alt.X(f"{middle}:Q", title=title, axis=ticks)
        bounds = base.mark_rule(strokeWidth=2, aria=False).encode(
            x=alt.X(f"{low}:Q", title=title, axis=ticks), x2=high, color=style["color"]
        )
        points = base.mark_point(filled=True, size=110, opacity=1).encode(
            x=x, description=f"{label}:N", tooltip=["experiment:N", alt.Tooltip(f"{label}:N", title=title)], **style
        )
        line = alt.Chart(pd.DataFrame({"zero": [zero]})).mark_rule(strokeDash=[4, 4], color="var(--ink)", aria=False)
        return alt.layer(line.encode(x="zero:Q"), bounds, points).properties(width=width, height=height)

    left = panel("accuracy", "label", "test videos right, % (dashed: chance)", chance, 260, names)
    right = panel("difference", "difference_label", "minus dense video, points", 0.0, 230, None)
    return finish(alt.hconcat(left, right, spacing=24), description)


def learning_chart(data: pd.DataFrame, series: list[str], titles: dict[str, str], description: str) -> dict[str, Any]:
    """Curves over epochs, one panel per metric; the mean over seeds, and their range as a band.

    Args:
        data: columns experiment, metric, epoch, mean, low, high, label, marked (points are drawn where it holds).
        series: experiments in order of their colours.
        titles: metrics shown, with the panels' titles.
        description: the figure in words.
    """
    count = len(series)
    legend = alt.Legend(title=None, orient="top", columns=2, symbolOpacity=1, symbolSize=90, symbolStrokeWidth=0)
    colour = alt.Color(
        "experiment:N",
        scale=alt.Scale(domain=series, range=[SERIES[k % len(SERIES)] for k in range(count)]),
        legend=legend,
    )
    shape = alt.Shape(
        "experiment:N", scale=alt.Scale(domain=series, range=[SHAPES[k % 8] for k in range(count)]), legend=legend
    )
    dash = alt.StrokeDash(
        "experiment:N", scale=alt.Scale(domain=series, range=[DASHES[k % 8] for k in range(count)]), legend=None
    )
    hover = alt.selection_point(fields=["experiment"], bind="legend", name="series")
    epochs = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, grid=False))
    epochs = epochs.scale(domain=[0, int(data["epoch"].max())])
    shares = alt.Scale(domain=[0, 1])
    panels = []
    for number, (metric, title) in enumerate(titles.items()):
        chosen = data[data["metric"] == metric]
        base = alt.Chart(chosen).encode(
            x=epochs,
            color=colour,
            opacity=alt.when(hover).then(alt.value(1)).otherwise(alt.value(0.15)),
        )
        y = alt.Y("mean:Q", title=title, scale=shares if metric == "video_top1" else alt.Scale(zero=False))
        layers = [base.mark_line(strokeWidth=2, aria=False).encode(y=y, strokeDash=dash)]
        if (chosen["low"] < chosen["high"]).any():
            band = base.mark_area(aria=False).encode(
                y=alt.Y("low:Q", title=title), y2="high:Q", opacity=alt.value(0.12)
            )
            layers.insert(0, band)
        points = base.transform_filter("datum.marked").mark_point(filled=True, size=60)
        tooltip = ["experiment:N", "epoch:Q", alt.Tooltip("mean:Q", format=".3f")]
        layers.append(points.encode(y=y, shape=shape, description="label:N", tooltip=tooltip))
        panel = alt.layer(*layers).properties(width=300, height=220)
        panels.append(panel.add_params(hover) if number == 0 else panel)
    return finish(alt.hconcat(*panels, spacing=36), description)


def confusion_chart(data: pd.DataFrame, classes: list[str], description: str) -> dict[str, Any]:
    """A confusion matrix; rows are true classes, the fill is the share of the row.

    Args:
        data: columns true, predicted, videos, share, label.
        classes: class names in order of their labels.
        description: the figure in words.
    """
    size = max(30, min(52, 440 // len(classes)))
    base = alt.Chart(data).encode(
        x=alt.X(
            "predicted:N",
            sort=classes,
            title="predicted",
            axis=alt.Axis(orient="top", labelAngle=-30, domain=False, ticks=False),
        ),
        y=alt.Y("true:N", sort=classes, title="true", axis=alt.Axis(domain=False, ticks=False)),
    )
    # At most half of the accent, so that the count stays readable on it in both themes.
    opacity = alt.Scale(domain=[0, 1], range=[0.0, 0.5])
    cells = base.mark_rect(stroke="var(--line)", fill="var(--accent)").encode(
        fillOpacity=alt.FillOpacity("share:Q", scale=opacity, legend=None),
        description="label:N",
        tooltip=["true:N", "predicted:N", "videos:Q", alt.Tooltip("share:Q", format=".0%")],
    )
    counts = base.mark_text(aria=False).encode(text="videos:Q").transform_filter("datum.videos > 0")
    chart = alt.layer(cells, counts).properties(width=size * len(classes), height=size * len(classes))
    return finish(chart, description)


def duration_chart(data: pd.DataFrame, description: str) -> dict[str, Any]:
    """A histogram that is binned already: columns start_s, end_s, videos, label."""
    tallest = int(data["videos"].max())
    counts = list(range(0, tallest + 1, max(1, -(-tallest // 4))))
    chart = (
        alt.Chart(data)
        .mark_bar(color=SERIES[0], stroke="var(--bg)")
        .encode(
            x=alt.X("start_s:Q", title="duration, s", bin="binned", axis=alt.Axis(grid=False, tickCount=8)),
            x2="end_s:Q",
            y=alt.Y("videos:Q", title="videos", axis=alt.Axis(values=counts, format="d")),
            description="label:N",
            tooltip=["label:N"],
        )
        .transform_filter("datum.videos > 0")
        .properties(width=560, height=160)
    )
    return finish(chart, description)


def cost_chart(data: pd.DataFrame, description: str) -> dict[str, Any]:
    """Wall seconds by rule: columns rule, wall_s, label."""
    bars = alt.Chart(data).encode(y=alt.Y("rule:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False)))
    x = alt.X("wall_s:Q", title="wall time of all its jobs, s", axis=alt.Axis(tickCount=5))
    marks = bars.mark_bar(color=SERIES[0], height=16).encode(x=x, description="label:N", tooltip=["rule:N", "label:N"])
    texts = bars.mark_text(align="left", dx=5, aria=False).encode(x=x, text=alt.Text("wall_s:Q", format=",.1f"))
    return finish(alt.layer(marks, texts).properties(width=480, height=26 * len(data)), description)


def finish(chart: alt.TopLevelMixin, description: str) -> dict[str, Any]:
    """The specification of a chart, with its description and the page's configuration."""
    chart = chart.properties(description=description)
    return chart.to_dict() | {"config": chart_config()}
