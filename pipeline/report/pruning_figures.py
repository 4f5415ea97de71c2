"""Charts of pruning: accuracy over cost, and sparsity over training."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from jaxtyping import Float

from .figures import DASHES, finish
from .theme import SERIES

FAMILIES = {"dense": "square", "ours": "circle", "other rule": "diamond"}
WIDTH, HEIGHT = 620, 400
LABEL_GAP = 0.042


def spread_labels(values: Float[np.ndarray, " N"], gap: float) -> Float[np.ndarray, " N"]:
    """Heights for labels at least `gap` apart, in the order of their values and around them."""
    order = np.argsort(values, kind="stable")
    # Moving every label down by its rank turns "at least `gap` apart" into "not falling".
    levels = values[order] - gap * np.arange(len(values))
    blocks: list[list[float]] = []
    for level in levels:
        blocks.append([level, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (last, many), (before, more) = blocks.pop(), blocks.pop()
            blocks.append([(last * many + before * more) / (many + more), many + more])
    placed = np.repeat([mean for mean, _ in blocks], [int(count) for _, count in blocks])
    result = np.empty(len(values))
    result[order] = placed + gap * np.arange(len(values))
    return result


def cost_accuracy_chart(data: pd.DataFrame, cost: str, title: str, description: str) -> dict[str, Any]:
    """Accuracy with bounds over a cost relative to the dense network; a line joins what nothing beats in both.

    Args:
        data: columns experiment, family, accuracy, accuracy_low, accuracy_high (percent), the cost (percent), label.
        cost: name of the cost's column.
        title: of its axis.
        description: the figure in words.
    """
    low, high = data["accuracy_low"].min(), data["accuracy_high"].max()
    placed = data.assign(
        label_x=max(100.0, data[cost].max()) * 1.06,
        label_y=spread_labels(data["accuracy"].to_numpy(float), LABEL_GAP * max(high - low, 1e-6)),
    )
    domain = [0.9 * data[cost].min(), placed["label_x"].max() * 1.28]
    bottom, top = min(low, placed["label_y"].min()), max(high, placed["label_y"].max())
    y_scale = alt.Scale(domain=[bottom - 0.5, top + 0.5], zero=False, nice=False)
    ticks = [tick for tick in range(0, 1000, 10) if domain[0] <= tick <= placed["label_x"].max()]
    axis = alt.Axis(values=ticks, grid=False, titleAnchor="start")
    x = alt.X(f"{cost}:Q", title=title, scale=alt.Scale(domain=domain, zero=False, nice=False), axis=axis)
    y = alt.Y("accuracy:Q", title="test videos right, %", scale=y_scale)
    names = list(FAMILIES)
    colour = alt.Color("family:N", scale=alt.Scale(domain=names, range=[SERIES[1], SERIES[0], SERIES[3]]))
    shape = alt.Shape("family:N", scale=alt.Scale(domain=names, range=list(FAMILIES.values())))
    legend = alt.Legend(title=None, orient="top")
    base = alt.Chart(placed)
    front = alt.Chart(pareto_front(data, cost)).mark_line(
        strokeDash=[5, 4], color="var(--muted)", interpolate="step-after", aria=False
    )
    bounds = base.mark_rule(aria=False, strokeWidth=1.5, opacity=0.55).encode(
        x=x, y=alt.Y("accuracy_low:Q", title="test videos right, %", scale=y_scale), y2="accuracy_high", color=colour
    )
    leaders = base.mark_rule(strokeWidth=0.6, color="var(--muted)", aria=False, opacity=0.6).encode(
        x=x, y=y, x2="label_x", y2="label_y"
    )
    points = base.mark_point(filled=True, size=95, opacity=1).encode(
        x=x,
        y=y,
        color=colour.legend(legend),
        shape=shape.legend(legend),
        description="label:N",
        tooltip=["experiment:N", "label:N"],
    )
    texts = base.mark_text(align="left", dx=4, aria=False).encode(
        x=alt.X("label_x:Q", title=title, axis=axis), y=alt.Y("label_y:Q"), text="experiment:N"
    )
    chart = alt.layer(front.encode(x=x, y=y), leaders, bounds, points, texts).properties(width=WIDTH, height=HEIGHT)
    return finish(chart, description)


def pareto_front(data: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The rows that no other row beats in cost and accuracy, cheapest first."""
    ordered = data.sort_values([cost, "accuracy"], ascending=[True, False])
    return ordered[ordered["accuracy"] > ordered["accuracy"].astype(float).cummax().shift(fill_value=-np.inf)]


def sparsity_chart(data: pd.DataFrame, targets: dict[str, float], description: str) -> dict[str, Any]:
    """Sparsity over epochs, a panel per kind; a line per layer, a thick one for all, dashes for the target.

    Args:
        data: columns epoch, kind, layer, value (percent), label.
        targets: percent, by kind.
        description: the figure in words.
    """
    layers = sorted(set(data["layer"]) - {"all"}, key=lambda layer: int(layer.removeprefix("block ")))
    order = ["all", *layers]
    colour = alt.Color(
        "layer:N",
        scale=alt.Scale(domain=order, range=["var(--ink)", *(SERIES[k % len(SERIES)] for k in range(len(layers)))]),
        legend=alt.Legend(title=None, orient="top", columns=7),
    )
    dash = alt.StrokeDash(
        "layer:N",
        scale=alt.Scale(domain=order, range=[[1, 0], *(DASHES[k % 8] for k in range(len(layers)))]),
        legend=None,
    )
    panels = []
    for kind in dict.fromkeys(data["kind"]):
        mine = data[data["kind"] == kind]
        axis = alt.Axis(tickMinStep=1, grid=False, format="d")
        x = alt.X("epoch:Q", title="epoch", axis=axis, scale=alt.Scale(domain=[0, int(data["epoch"].max())]))
        y = alt.Y("value:Q", title=f"{kind} dropped, %", scale=alt.Scale(domain=[0, 100]))
        base = alt.Chart(mine).encode(x=x, y=y, color=colour)
        size = alt.condition("datum.layer == 'all'", alt.value(3), alt.value(1.6))
        lines = base.mark_line(aria=False).encode(strokeDash=dash, strokeWidth=size)
        points = base.mark_point(filled=True, size=28).encode(
            description="label:N", tooltip=["layer:N", "epoch:Q", alt.Tooltip("value:Q", format=".1f")]
        )
        wanted = alt.Chart(pd.DataFrame({"target": [targets[kind]]})).mark_rule(
            strokeDash=[3, 3], color="var(--muted)", strokeWidth=1.5, aria=False
        )
        panels.append(alt.layer(wanted.encode(y="target:Q"), lines, points).properties(width=250, height=170))
    return finish(alt.concat(*panels, columns=2, spacing=28), description)
