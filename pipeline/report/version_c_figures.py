"""Charts of co-design: the loss over the alternation, what each part buys, fronts of accuracy and cost."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from .figures import ROW_HEIGHT, finish
from .pruning_figures import LABEL_GAP, spread_labels
from .theme import SERIES, SHAPES

PHASES = {"A": "A network", "B": "B chip types (relaxed)", "C": "C chips, mapping", "D": "D positions"}
TERMS = {
    "term_latency": "latency",
    "term_energy": "energy",
    "term_memory": "memory",
    "term_chips": "open slots",
    "term_layout": "layout",
}


def alternation_chart(losses: pd.DataFrame, terms: pd.DataFrame, outers: list[int], description: str) -> dict[str, Any]:
    """The loss of every step, relaxed and hardened, and the hardened design's terms.

    Args:
        losses: columns at (place in the run), phase, relaxed, hardened, label.
        terms: columns at, term, value, label: of the hardened design, steps of A and ends of C and D.
        outers: where outer iterations begin, on `at`.
    """
    names = list(PHASES.values())
    scale = alt.Scale(domain=names, range=list(SERIES[:4]))
    shapes = alt.Scale(domain=names, range=list(SHAPES[:4]))
    legend = alt.Legend(title=None, orient="top", columns=4)
    x = alt.X(
        "at:Q",
        title="step of the alternation (dashes: outer iterations)",
        axis=alt.Axis(grid=False),
        scale=alt.Scale(domain=[0, int(losses["at"].max())], nice=False),
    )
    begins = alt.Chart(pd.DataFrame({"at": outers})).mark_rule(strokeDash=[3, 3], color="var(--line)", aria=False)
    base = alt.Chart(losses)
    hardened = base.mark_line(color="var(--ink)", strokeWidth=1.5, interpolate="step-after", aria=False).encode(
        x=x, y=alt.Y("hardened:Q", title="hardened L_hw", scale=alt.Scale(zero=False))
    )
    marks = base.mark_point(filled=True, size=26).encode(
        x=x,
        y=alt.Y("hardened:Q", title="hardened L_hw"),
        color=alt.Color("phase:N", scale=scale, legend=legend),
        shape=alt.Shape("phase:N", scale=shapes, legend=legend),
        description="label:N",
        tooltip=["label:N"],
    )
    upper = alt.layer(begins.encode(x=x), hardened, marks).properties(width=620, height=190)
    panels: list[Any] = [upper]
    relaxed = losses[losses["phase"] == PHASES["B"]]
    if len(relaxed):
        soft = alt.Chart(relaxed)
        y = alt.Y("relaxed:Q", title="relaxed L_hw in B", scale=alt.Scale(zero=False))
        line = soft.mark_line(color=SERIES[1], strokeWidth=1, aria=False).encode(x=x, y=y, detail="outer:N")
        panels.append(alt.layer(begins.encode(x=x), line).properties(width=620, height=120))
    known = [name for name in TERMS.values() if name in set(terms["term"])]
    colours = alt.Scale(domain=known, range=[SERIES[k % 8] for k in range(len(known))])
    lines = (
        alt.Chart(terms)
        .mark_line(strokeWidth=2, interpolate="step-after")
        .encode(
            x=x,
            y=alt.Y("value:Q", title="terms, hardened"),
            color=alt.Color("term:N", scale=colours, legend=alt.Legend(title=None, orient="right")),
            strokeDash=alt.StrokeDash("term:N", scale=alt.Scale(domain=known), legend=None),
        )
    )
    panels.append(alt.layer(begins.encode(x=x), lines).properties(width=620, height=150))
    return finish(alt.vconcat(*panels, spacing=16).resolve_scale(color="independent", shape="independent"), description)


def parts_chart(data: pd.DataFrame, description: str) -> dict[str, Any]:
    """Energy-delay product of each variant over that of the whole, with bounds where there are several seeds.

    Args:
        data: columns variant, percent, low, high, label; percent above the whole's.
    """
    y = alt.Y("variant:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False))
    x = alt.X("percent:Q", title="energy-delay product, % above that of the whole")
    line = alt.Chart(pd.DataFrame({"percent": [0.0]})).mark_rule(strokeDash=[4, 4], color="var(--ink)", aria=False)
    base = alt.Chart(data)
    bounds = base.mark_rule(strokeWidth=2, color=SERIES[0], aria=False).encode(
        x=alt.X("low:Q", title="energy-delay product, % above that of the whole"), x2="high", y=y
    )
    points = base.mark_point(filled=True, size=100, color=SERIES[0], opacity=1).encode(
        x=x, y=y, description="label:N", tooltip=["label:N"]
    )
    chart = alt.layer(line.encode(x="percent:Q"), bounds, points).properties(width=420, height=ROW_HEIGHT * len(data))
    return finish(chart, description)


def front_chart(data: pd.DataFrame, cost: str, title: str, description: str) -> dict[str, Any]:
    """Accuracy over a cost of each design; a dashed line joins what nothing beats in both.

    Args:
        data: columns experiment, family, accuracy (percent), the cost, on_front, label.
        cost: name of the cost's column; title: of its axis.
    """
    families = list(dict.fromkeys(data["family"]))
    colour = alt.Scale(domain=families, range=[SERIES[k % 8] for k in range(len(families))])
    shape = alt.Scale(domain=families, range=[SHAPES[k % 8] for k in range(len(families))])
    legend = alt.Legend(title=None, orient="top")
    low, high = float(data["accuracy"].min()), float(data["accuracy"].max())
    right = 1.06 * float(data[cost].max())
    placed = data.assign(
        label_x=right, label_y=spread_labels(data["accuracy"].to_numpy(float), LABEL_GAP * max(high - low, 5.0))
    )
    bottom, top = min(low, placed["label_y"].min()) - 1.0, max(high, placed["label_y"].max()) + 1.0
    x = alt.X(
        f"{cost}:Q", title=title, scale=alt.Scale(domain=[0.0, 1.3 * right], nice=False), axis=alt.Axis(grid=False)
    )
    y = alt.Y("accuracy:Q", title="test videos right, %", scale=alt.Scale(domain=[bottom, top], nice=False))
    front = (
        alt.Chart(data[data["on_front"]])
        .mark_line(strokeDash=[5, 4], color="var(--muted)", interpolate="step-after", aria=False)
        .encode(x=x, y=y)
    )
    base = alt.Chart(placed)
    leaders = base.mark_rule(strokeWidth=0.6, color="var(--muted)", aria=False, opacity=0.6).encode(
        x=x, y=y, x2="label_x", y2="label_y"
    )
    points = base.mark_point(filled=True, size=95, opacity=1).encode(
        x=x,
        y=y,
        color=alt.Color("family:N", scale=colour, legend=legend),
        shape=alt.Shape("family:N", scale=shape, legend=legend),
        description="label:N",
        tooltip=["label:N"],
    )
    texts = base.mark_text(align="left", dx=4, aria=False).encode(
        x=alt.X("label_x:Q", title=title), y=alt.Y("label_y:Q"), text="experiment:N"
    )
    return finish(alt.layer(front, leaders, points, texts).properties(width=560, height=340), description)
