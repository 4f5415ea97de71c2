"""The chart of the quantised nets' layers, as a Vega-Lite specification."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from .recording_charts import finish
from .theme import SERIES, SHAPES

PANEL_WIDTH = 420


def layers_chart(data: pd.DataFrame, description: str) -> dict[str, Any]:
    """How far apart a layer's channels lie: columns network, layer, scale_spread_bits, bits (text), label."""
    widths = sorted(set(data["bits"]), key=lambda text: int(text.split()[0]))
    style = {
        "color": alt.Color(
            "bits:N",
            scale=alt.Scale(domain=widths, range=list(SERIES[: len(widths)])),
            legend=alt.Legend(title="weights", orient="top"),
        ),
        "shape": alt.Shape("bits:N", scale=alt.Scale(domain=widths, range=list(SHAPES[: len(widths)]))),
    }
    panels = []
    for network, own in data.groupby("network", sort=False):
        marks = alt.Chart(own).mark_point(filled=True, size=90, opacity=1)
        panels.append(
            marks.encode(
                x=alt.X(
                    "scale_spread_bits:Q",
                    title="bits by which the smallest output channel falls short of the largest",
                    scale=alt.Scale(domainMin=0, nice=True),
                    axis=alt.Axis(tickCount=6),
                ),
                y=alt.Y("layer:N", title=f"{network} network", sort=list(own["layer"]), axis=alt.Axis(grid=True)),
                description="label:N",
                tooltip=["label:N"],
                **style,
            ).properties(width=PANEL_WIDTH, height=alt.Step(20))
        )
    return finish(alt.vconcat(*panels, spacing=12).resolve_scale(x="shared"), description)
