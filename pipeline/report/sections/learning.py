"""Learning curves: training loss and validation accuracy over epochs, one figure per phase."""

from __future__ import annotations

import numpy as np
import pandas as pd
from markupsafe import Markup

from ...experiments import load_catalogue
from ..blocks import Block, Figure, Prose, Section, number_column, text_column
from ..context import Context
from ..figures import learning_chart
from ..formats import labels
from ..tables import Arm

PANELS = {"train_loss": "training loss, nat", "video_top1": "validation videos right, share"}
SERIES_PER_FIGURE = 8
MARKS_PER_CURVE = 10


def section(context: Context) -> Section:
    """One figure per phase, of at most eight experiments each."""
    arms = [arm for arm in context.finished if len(curves(arm))]
    blocks: list[Block] = []
    for phase, title in {**load_catalogue().phases, "": "Ad-hoc runs"}.items():
        members = [arm for arm in arms if (arm.entry.phase if arm.entry else "") == phase]
        for start in range(0, len(members), SERIES_PER_FIGURE):
            part = f"-{start // SERIES_PER_FIGURE + 1}" if len(members) > SERIES_PER_FIGURE else ""
            chosen = members[start : start + SERIES_PER_FIGURE]
            blocks.append(_figure(f"learning-{phase or 'adhoc'}{part}", title, chosen))
    if not blocks:
        blocks.append(Prose(Markup("Not run: no finished experiment has a training history.")))
    return Section("learning", "Learning curves", tuple(blocks))


def curves(arm: Arm) -> pd.DataFrame:
    """Mean, lowest and highest value over seeds, by metric and epoch; the last epoch and a few before are marked."""
    tables = [run.history[run.history["metric"].isin(PANELS)] for run in arm.runs]
    table = pd.concat(tables, ignore_index=True)
    grouped = table.groupby(["metric", "epoch"], as_index=False)["value"].agg(["mean", "min", "max"])
    grouped = grouped.rename(columns={"min": "low", "max": "high"})
    grouped.insert(0, "experiment", arm.short_name)
    rank = grouped.groupby("metric")["epoch"].rank(ascending=False) - 1
    step = np.ceil(grouped.groupby("metric")["epoch"].transform("size") / MARKS_PER_CURVE)
    grouped["marked"] = rank % step == 0
    grouped["label"] = labels(grouped, "{experiment}, epoch {epoch}: {mean:.3f}")
    return grouped


def _figure(name: str, phase: str, arms: list[Arm]) -> Figure:
    data = pd.concat([curves(arm) for arm in arms], ignore_index=True)
    titles = {metric: title for metric, title in PANELS.items() if metric in set(data["metric"])}
    seeds = max(len(arm.runs) for arm in arms)
    last = data[data["metric"] == "video_top1"].sort_values("epoch").groupby("experiment", sort=False).tail(1)
    ends = "; ".join(labels(last, "{experiment} ends at {mean:.2f}"))
    description = f"{phase}: training loss and validation accuracy over epochs. {ends}"
    spread = f" Lines are means over {seeds} seeds, bands reach from the lowest to the highest." if seeds > 1 else ""
    return Figure(
        name,
        phase,
        "Left: training loss after each epoch. Right: share of validation videos right."
        f"{spread} Hover, then click a name to single it out.",
        description,
        learning_chart(data, [arm.short_name for arm in arms], titles, description),
        data.drop(columns=["label", "marked"]),
        (
            text_column("experiment", "Experiment"),
            text_column("metric", "Metric"),
            number_column("epoch", "Epoch", "{:.0f}"),
            number_column("mean", "Mean", "{:.4f}"),
            number_column("low", "Lowest seed", "{:.4f}"),
            number_column("high", "Highest seed", "{:.4f}"),
        ),
    )
