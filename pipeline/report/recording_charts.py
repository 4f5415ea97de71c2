"""The charts of the recordings' analyses and of the choice of the simple model, as Vega-Lite specifications."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from .figures import DASHES
from .theme import SERIES, SHAPES, chart_config

CLASSES = ["interictal", "ictal"]


def separability_chart(data: pd.DataFrame, description: str) -> dict[str, Any]:
    """Every electrode of every patient by its AUC: columns patient, auc, kind (key | other), label."""
    kinds = ["key electrode", "other electrode"]
    style = {
        "color": alt.Color(
            "kind:N", scale=alt.Scale(domain=kinds, range=list(SERIES[:2])), legend=alt.Legend(title=None, orient="top")
        ),
        "shape": alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=["diamond", "circle"])),
    }
    marks = (
        alt.Chart(data)
        .mark_point(filled=True, size=70)
        .encode(
            x=alt.X("auc:Q", title="validation AUC of one electrode", scale=alt.Scale(domain=[0.4, 1.0], clamp=True)),
            y=alt.Y("patient:N", title=None, axis=alt.Axis(ticks=False, domain=False), sort=None),
            description="label:N",
            tooltip=["label:N"],
            **style,
        )
        .properties(width=560, height=max(60, 34 * data["patient"].nunique()))
    )
    return finish(marks, description)


def confidence_chart(data: pd.DataFrame, easy: float, description: str) -> dict[str, Any]:
    """Windows by confidence of the existing CNN: columns low, high, class_name, answer, windows, label."""
    answers = ["right", "wrong"]
    panels = []
    for name in CLASSES:
        own = data[data["class_name"] == name]
        bars = (
            alt.Chart(own)
            .transform_filter("datum.windows > 0")
            .mark_bar(stroke="var(--bg)")
            .encode(
                x=alt.X("low:Q", bin="binned", title=f"|p1 - p0|, {name} windows", axis=alt.Axis(grid=False)),
                x2="high:Q",
                y=alt.Y("windows:Q", title="windows", stack=True),
                color=alt.Color(
                    "answer:N",
                    scale=alt.Scale(domain=answers, range=list(SERIES[:2])),
                    legend=alt.Legend(title=None, orient="top"),
                ),
                description="label:N",
                tooltip=["label:N"],
            )
        )
        line = alt.Chart(pd.DataFrame({"easy": [easy]})).mark_rule(strokeDash=[4, 4], color="var(--ink)", aria=False)
        panels.append(alt.layer(bars, line.encode(x="easy:Q")).properties(width=280, height=180))
    return finish(alt.hconcat(*panels, spacing=32), description)


def correlation_chart(data: pd.DataFrame, most: float, description: str) -> dict[str, Any]:
    """A correlation matrix, both halves given without the diagonal: columns a, b (electrodes), sign, size, label.

    `most` is the size drawn in full colour: against the diagonal's 1 all others would be pale.
    """
    names = list(dict.fromkeys(data["a"]))
    size = max(10, min(22, 420 // max(1, len(names))))
    axis = alt.Axis(domain=False, ticks=False)
    cells = (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X("a:N", sort=names, title="electrode, most separable first", axis=axis),
            y=alt.Y("b:N", sort=names, title=None, axis=axis),
            description="label:N",
            tooltip=["label:N"],
            **_signed(most, ("positive", "negative")),
        )
        .properties(width=size * len(names), height=size * len(names))
    )
    return finish(cells, description)


def signature_chart(spectrum: pd.DataFrame, evolution: pd.DataFrame, description: str) -> dict[str, Any]:
    """Left: median power by frequency and class. Right: gain over the interictal median by band and time since onset.

    Args:
        spectrum: columns frequency_hz, power_db, low_db, high_db, class_name.
        evolution: columns since_onset_s, until_s, band, sign (rises | falls), size (dB), label.
        description: the figure in words.
    """
    colour = alt.Color(
        "class_name:N",
        scale=alt.Scale(domain=CLASSES, range=list(SERIES[:2])),
        legend=alt.Legend(title=None, orient="top"),
    )
    quiet = alt.Fill("class_name:N", scale=alt.Scale(domain=CLASSES, range=list(SERIES[:2])), legend=None)
    base = alt.Chart(spectrum).encode(
        x=alt.X("frequency_hz:Q", title="frequency, Hz", scale=alt.Scale(type="log", domain=[1, 100]))
    )
    band = base.mark_area(aria=False).encode(
        y=alt.Y("low_db:Q", title=""), y2="high_db:Q", fill=quiet, fillOpacity=alt.value(0.15)
    )
    dash = alt.StrokeDash("class_name:N", scale=alt.Scale(domain=CLASSES, range=[[1, 0], [6, 3]]), legend=None)
    line = base.mark_line(strokeWidth=2).encode(
        y=alt.Y("power_db:Q", title="power, dB", scale=alt.Scale(zero=False)), color=colour, strokeDash=dash
    )
    left = alt.layer(band, line).properties(width=270, height=200)
    most = max(1.0, float(evolution["size"].max()))
    right = (
        alt.Chart(evolution)
        .mark_rect()
        .encode(
            x=alt.X("since_onset_s:Q", bin="binned", title="time since onset, s", axis=alt.Axis(grid=False)),
            x2="until_s:Q",
            y=alt.Y("band:N", sort=list(reversed(list(dict.fromkeys(evolution["band"])))), title="band, Hz"),
            description="label:N",
            tooltip=["label:N"],
            **_signed(most, ("rises", "falls")),
        )
        .properties(width=250, height=200)
    )
    return finish(alt.hconcat(left, right, spacing=28).resolve_scale(fill="independent"), description)


def candidates_chart(data: pd.DataFrame, target: float, description: str) -> dict[str, Any]:
    """Risk against coverage of each candidate: columns candidate, coverage, risk, marked, label."""
    names = list(dict.fromkeys(data["candidate"]))
    legend = alt.Legend(title=None, orient="top", symbolSize=90)
    base = alt.Chart(data).encode(
        x=alt.X("coverage:Q", title="share of windows answered by the simple model", scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("risk:Q", title="wrong among them, share", scale=alt.Scale(domain=[0, 20 * target], clamp=True)),
        color=alt.Color("candidate:N", scale=alt.Scale(domain=names, range=list(SERIES[: len(names)])), legend=legend),
    )
    dashes = alt.Scale(domain=names, range=list(DASHES[: len(names)]))
    line = base.mark_line(strokeWidth=2, aria=False).encode(
        strokeDash=alt.StrokeDash("candidate:N", scale=dashes, legend=None)
    )
    points = base.transform_filter("datum.marked").mark_point(filled=True, size=70)
    shapes = alt.Scale(domain=names, range=list(SHAPES[: len(names)]))
    marks = points.encode(
        shape=alt.Shape("candidate:N", scale=shapes, legend=legend), description="label:N", tooltip=["label:N"]
    )
    rule = alt.Chart(pd.DataFrame({"risk": [target]})).mark_rule(strokeDash=[4, 4], color="var(--ink)", aria=False)
    return finish(alt.layer(line, marks, rule.encode(y="risk:Q")).properties(width=560, height=240), description)


def _signed(most: float, words: tuple[str, str]) -> dict[str, Any]:
    """A signed number (fields `sign`, `size`) as a fill: its colour says the sign, its strength the size.

    Colours of the page are style-sheet variables, which Vega cannot blend into a scale of its own.
    """
    return {
        "fill": alt.Fill(
            "sign:N",
            scale=alt.Scale(domain=list(words), range=list(SERIES[:2])),
            legend=alt.Legend(title=None, orient="top"),
        ),
        "fillOpacity": alt.FillOpacity("size:Q", scale=alt.Scale(domain=[0, most], range=[0.0, 1.0]), legend=None),
    }


def finish(chart: alt.TopLevelMixin, description: str) -> dict[str, Any]:
    """The chart as a specification, with its words and the page's colours."""
    chart = chart.properties(description=description)
    return chart.to_dict() | {"config": chart_config()}
