"""What pruning keeps, saves and costs: accuracy over MACs and time, sparsities, and the tokens that stay."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from ..accuracy import difference
from ..blocks import Block, Cell, Column, Figure, Html, Kind, Picker, Prose, Section, Table, number_column, text_column
from ..context import Context
from ..formats import labels, percent, percent_bounds, point_bounds, points
from ..pruning_arms import (
    REFERENCES,
    asked_and_got,
    compared,
    is_pruned,
    modality,
    name_of,
    pruned_arms,
    sparsity_curves,
)
from ..pruning_figures import cost_accuracy_chart, sparsity_chart
from ..pruning_pictures import masked_clips
from ..statistics import Interval
from ..tables import Arm
from ..templating import render_template

MAIN = "EXP-P1V-3-ast-no-hw"
COSTS = {"macs": "multiply-accumulates", "time": "measured time of a forward pass"}
ROW_GAP = 4
SECTION = ("pruning", "Pruning")


def section(context: Context) -> Section:
    """Plots of accuracy over cost, the table behind them, sparsity over training, and the kept tokens."""
    arms = pruned_arms(context)
    if not arms:
        text = Markup("Not run: no finished experiment drops tokens or closes gates ({}, for one).").format(MAIN)
        return Section(*SECTION, (Prose(text),))
    sentences = _sentences(context)
    blocks: list[Block] = [Prose(text) for text in sentences]
    tables = {kind: compared(context, kind) for kind in REFERENCES}
    for kind, data in tables.items():
        if len(data):
            blocks += _plots(kind, data)
    whole = pd.concat([data.assign(input=kind) for kind, data in tables.items() if len(data)] or [pd.DataFrame()])
    if len(whole):
        blocks.append(_table(whole.reset_index(drop=True)))
    # Variants share their base's schedule: one set of curves is enough.
    own = [arm for arm in arms if arm not in context.variants] or list(arms[:1])
    blocks.append(Picker("sparsity", "Sparsity of", tuple((name_of(arm), _curves(arm)) for arm in own)))
    blocks.append(_targets(arms))
    blocks += _pictures(context, own)
    return Section(*SECTION, tuple(blocks), next(iter(sentences), None))


def _sentences(context: Context) -> list[Markup]:
    """What the main pruned experiment lost and saved."""
    arm = context.arm(MAIN)
    data = compared(context, "video")
    if arm is None or not is_pruned(arm) or data.empty:
        return []
    row = data[data["experiment"] == name_of(arm)].iloc[0]
    reference = next(other for other in map(context.arm, REFERENCES["video"]) if other is not None and other.runs)
    gap = difference(arm, reference)
    if not isinstance(gap, Interval):
        return []
    saved = Markup("<strong>{}</strong> of the dense network's multiply-accumulates").format(percent(row["macs"]))
    if row["time"] == row["time"]:
        saved += Markup(" and <strong>{}</strong> of its time").format(percent(row["time"]))
    return [
        Markup("{} needs {}; accuracy changes by <strong>{} points</strong> (95 % bounds {}) against {}.").format(
            name_of(arm), saved, points(gap.mean), point_bounds(gap), name_of(reference)
        )
    ]


def _plots(kind: str, data: pd.DataFrame) -> list[Block]:
    figures = []
    for cost, text in COSTS.items():
        known = data[data[cost].notna() & data["accuracy"].notna()].copy()
        if len(known) < 2:
            continue
        shown = known[["experiment", "family"]].copy()
        for name in ("accuracy", "accuracy_low", "accuracy_high", cost):
            shown[name] = 100 * known[name]
        pattern = "{experiment}: {accuracy:.1f} % right at {" + cost + ":.0f} % of the dense " + text
        shown["label"] = labels(shown, pattern)
        description = f"Accuracy over {text}, {kind}. " + "; ".join(shown["label"])
        figures.append(
            Figure(
                f"pruning-{cost}-{kind.replace(' ', '-')}",
                f"Accuracy over {text}, {kind}",
                _plot_caption(cost),
                description,
                cost_accuracy_chart(shown, cost, f"{text}, % of the dense network", description),
                shown.drop(columns="label"),
                (
                    text_column("experiment", "Experiment"),
                    text_column("family", "Rule"),
                    number_column("accuracy", "Accuracy, %", "{:.1f}"),
                    number_column("accuracy_low", "lower bound", "{:.1f}"),
                    number_column("accuracy_high", "upper bound", "{:.1f}"),
                    number_column(cost, f"{cost}, % of dense", "{:.0f}"),
                ),
            )
        )
    return list(figures)


def _plot_caption(cost: str) -> str:
    common = "Up and to the left is better; the dashed line joins what nothing beats in both. Bars are 95 % bounds."
    if cost == "macs":
        return f"{common} Closed gates are cut out; scoring tokens is not counted here, but it is in the time."
    return (
        f"{common} Each pruned network was timed in turns with a dense one of its sizes, in one process; dense models "
        "of other sizes were timed apart, so their place is rougher."
    )


def _table(data: pd.DataFrame) -> Table:
    return Table(
        "pruning",
        "Pruned experiments and what they are compared with",
        "Differences are paired with the dense run that had the same further steps. The moving target is that of "
        "generated clips; random tokens would keep as large a share of it as of all.",
        data,
        (
            text_column("experiment", "Experiment"),
            text_column("title", "What it is"),
            number_column("seeds", "Seeds", "{:.0f}"),
            Column("Accuracy", _accuracy_cell, numeric=True),
            Column("Minus dense, points", _difference_cell, numeric=True),
            number_column("macs", "MACs, % of dense", "{:.0f}", 100.0),
            number_column("time", "Time, % of dense", "{:.0f}", 100.0),
            number_column("kept_tokens", "Tokens kept, %", "{:.0f}", 100.0),
            number_column("target_kept", "Target's tokens kept, %", "{:.0f}", 100.0),
        ),
    )


def _accuracy_cell(row: dict[str, Any]) -> Cell:
    interval = Interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"])
    return Cell(percent(interval.mean), interval.mean, percent_bounds(interval))


def _difference_cell(row: dict[str, Any]) -> Cell:
    interval = Interval(row["difference"], row["difference_low"], row["difference_high"])
    if interval.mean != interval.mean:
        return Cell("–", None, kind="muted")
    mark = "▲ " if interval.low > 0 else "▼ " if interval.high < 0 else ""
    kind: Kind = "better" if interval.low > 0 else "worse" if interval.high < 0 else ""
    return Cell(f"{mark}{points(interval.mean)}", interval.mean, point_bounds(interval), kind)


def _curves(arm: Arm) -> Figure:
    curves = sparsity_curves(arm)
    curves["value"] *= 100
    curves["label"] = labels(curves, "{kind}, {layer}, epoch {epoch}: {value:.1f} % dropped")
    wanted = asked_and_got(arm)
    targets = {kind: 100 * target for kind, target in zip(wanted["kind"], wanted["target"], strict=True)}
    curves = curves[curves["kind"].isin(list(targets))]
    last = curves[curves["layer"] == "all"].groupby("kind", sort=False).tail(1)
    ends = "; ".join(labels(last, "{kind} end at {value:.1f} %"))
    name = name_of(arm)
    description = f"Share of tokens, heads, channels and branches dropped over training, {name}. {ends}"
    return Figure(
        f"sparsity-{name}",
        f"Sparsity over training, {name}",
        "Thick: all layers; thin: each layer. Dashes: what was asked for. Tokens count after the last prune layer, as "
        "their schedule has it; gates as they would be used.",
        description,
        sparsity_chart(curves, targets, description),
        curves.drop(columns="label"),
        (
            text_column("kind", "Of"),
            text_column("layer", "Layer"),
            number_column("epoch", "Epoch", "{:.0f}"),
            number_column("value", "Dropped, %", "{:.1f}"),
        ),
    )


def _targets(arms: tuple[Arm, ...]) -> Table:
    return Table(
        "sparsity-targets",
        "Sparsity: asked for and got",
        "Gates close one by one, so a share can be off by half a gate; so can a number of tokens.",
        pd.concat([asked_and_got(arm) for arm in arms], ignore_index=True),
        (
            text_column("experiment", "Experiment"),
            text_column("kind", "Of"),
            number_column("target", "Asked for, %", "{:.1f}", 100.0),
            number_column("realised", "Got, %", "{:.1f}", 100.0),
            number_column("off_by", "Off by, points", "{:+.2f}", 100.0),
        ),
    )


def _pictures(context: Context, arms: list[Arm]) -> list[Block]:
    """Masks of the first pruned video experiment whose clips are on disk."""
    for arm in sorted(arms, key=lambda arm: (modality(arm) != "video", arm.name != MAIN)):
        clips = masked_clips(arm.runs[0], context.data)
        if clips:
            caption = (
                f"{name_of(arm)}, its first seed: the middle window of the first test video of each class by name. "
                "Rows: frames cropped as for the network, the score of every token, and what stays (the rest is pale)."
            )
            heading = Prose(Markup("<strong>Which tokens stay, over time</strong>"))
            return [heading, Html(render_template("pruning.html.jinja", clips=clips, caption=caption, gap=ROW_GAP))]
    return []
