"""The charts of the trained cascade, as Vega-Lite specifications."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from .figures import DASHES
from .recording_charts import finish
from .theme import SERIES, SHAPES

PANEL_WIDTH = 560


def electrodes_chart(data: pd.DataFrame, description: str) -> dict[str, Any]:
    """Every electrode's AUC: columns patient, channel, auc_test, kind (learned | best other | other), label."""
    kinds = ["learned", "other electrode"]
    style = {
        "color": alt.Color(
            "kind:N", scale=alt.Scale(domain=kinds, range=list(SERIES[:2])), legend=alt.Legend(title=None, orient="top")
        ),
        "shape": alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=["diamond", "circle"])),
        "size": alt.Size("kind:N", scale=alt.Scale(domain=kinds, range=[170, 45]), legend=None),
    }
    panels = []
    for patient, own in data.groupby("patient", sort=False):
        marks = alt.Chart(own).mark_point(filled=True, opacity=1)
        panels.append(
            marks.encode(
                x=alt.X("channel:Q", title="electrode", axis=alt.Axis(grid=False, tickMinStep=1)),
                y=alt.Y("auc_test:Q", title=f"AUC, {patient}", scale=alt.Scale(domain=[0.4, 1.0], clamp=True)),
                description="label:N",
                tooltip=["label:N"],
                **style,
            ).properties(width=PANEL_WIDTH, height=110)
        )
    return finish(alt.vconcat(*panels, spacing=12), description)


def risk_chart(data: pd.DataFrame, limit: float, description: str) -> dict[str, Any]:
    """Risk against the share kept: columns patient, accepted, risk, chosen, label; `limit` is dashed."""
    patients = list(dict.fromkeys(data["patient"]))
    colours = alt.Scale(domain=patients, range=[SERIES[k % 8] for k in range(len(patients))])
    base = alt.Chart(data).encode(
        x=alt.X("accepted:Q", title="share of windows that the simple model keeps", axis=alt.Axis(format="%")),
        y=alt.Y("risk:Q", title="risk on test windows", axis=alt.Axis(format=".1%")),
        color=alt.Color("patient:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
    )
    dashes = alt.Scale(domain=patients, range=[DASHES[k % 8] for k in range(len(patients))])
    shapes = alt.Scale(domain=patients, range=[SHAPES[k % 8] for k in range(len(patients))])
    lines = base.mark_line(strokeWidth=2, aria=False).encode(
        strokeDash=alt.StrokeDash("patient:N", scale=dashes, legend=None), order="margin:Q"
    )
    points = (
        base.transform_filter("datum.chosen")
        .mark_point(filled=True, size=140, opacity=1)
        .encode(shape=alt.Shape("patient:N", scale=shapes), description="label:N", tooltip=["label:N"])
    )
    bound = alt.Chart(pd.DataFrame({"risk": [limit]})).mark_rule(strokeDash=[4, 4], color="var(--ink)", aria=False)
    chart = alt.layer(bound.encode(y="risk:Q"), lines, points).properties(width=PANEL_WIDTH, height=220)
    return finish(chart, description)


def routing_chart(windows: pd.DataFrame, seizures: pd.DataFrame, margin: float, description: str) -> dict[str, Any]:
    """A recording in time: the simple model's margin and who answered.

    Args:
        windows: columns start_s, simple (l1 - l0), answered (simple model | complex model), verdict, label.
        seizures: columns onset_s, offset_s.
        margin: windows within it are handed over.
        description: the figure in words.
    """
    answers, verdicts = ["simple model", "complex model"], ["interictal", "ictal"]
    shade = alt.Chart(seizures).mark_rect(fill="var(--accent)", opacity=0.12, aria=False)
    band = alt.Chart(pd.DataFrame({"low": [-margin], "high": [margin]})).mark_rect(
        fill="var(--ink)", opacity=0.1, aria=False
    )
    x = alt.X("start_s:Q", title="seconds since the start of the recording", axis=alt.Axis(grid=False))
    points = (
        alt.Chart(windows)
        .mark_point(filled=True, size=60, opacity=1)
        .encode(
            x=x,
            y=alt.Y("simple:Q", title="simple model, l1 - l0"),
            color=alt.Color(
                "answered:N",
                scale=alt.Scale(domain=answers, range=list(SERIES[:2])),
                legend=alt.Legend(title="answered by", orient="top"),
            ),
            shape=alt.Shape(
                "verdict:N",
                scale=alt.Scale(domain=verdicts, range=["circle", "triangle-up"]),
                legend=alt.Legend(title="answer", orient="top"),
            ),
            description="label:N",
            tooltip=["label:N"],
        )
    )
    layers = [
        shade.encode(x="onset_s:Q", x2="offset_s:Q"),
        band.encode(y="low:Q", y2="high:Q"),
        points,
    ]
    return finish(alt.layer(*layers).properties(width=PANEL_WIDTH, height=220), description)
