"""All experiments in one table: accuracy with bounds, difference to dense video, cost; and the same as a figure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from ..accuracy import Verdict
from ..blocks import Block, Cell, Column, Figure, Kind, Prose, Section, Table, is_missing, number_column, text_column
from ..context import BASELINE, Context
from ..experiments_md import snakemake_command
from ..figures import accuracy_chart
from ..formats import labels, percent_bounds, point_bounds, points
from ..statistics import Interval
from ..tables import Arm

CAPTION = (
    "Headline: share of test videos whose class, by mean probability over the video's windows, is right. Small print: "
    "95 % bounds from resampling groups of videos and seeds. Differences are paired, on the same videos and seeds; "
    "▲ ▼ mark those whose bounds exclude zero."
)


def section(context: Context) -> Section:
    """The table of all experiments of the preset, run or not, and the accuracy figure."""
    data = experiment_table(context)
    blocks: list[Block] = []
    if context.chance is not None and context.estimates:
        blocks.append(_figure(context, data))
    blocks.append(Table("experiments", "All experiments", CAPTION, data, _columns(data), filterable=True))
    missing = [arm.name for arm in context.arms if arm.status != "done" and arm.entry is not None]
    if missing:
        command = snakemake_command(" ".join(missing), context.preset_name, context.needs_folder)
        blocks.append(Prose(Markup("Missing experiments are made by <code>{}</code>").format(command)))
    return Section("experiments", "Experiments", tuple(blocks))


def experiment_table(context: Context) -> pd.DataFrame:
    """One row per experiment, run or not, and one for chance; shares and counts, no formatting."""
    rows = [_row(context, arm) for arm in context.arms]
    if context.chance is not None:
        top5 = min(1.0, 5 * context.chance)
        guess = {"experiment": "chance", "title": "guessing with equal probabilities", "kind": "chance", "status": "–"}
        values = {"accuracy": context.chance, "video_top5": top5, "clip_top1": context.chance}
        rows.append(guess | values | {"video_nll": -math.log(context.chance)})
    return pd.DataFrame(rows)


def _row(context: Context, arm: Arm) -> dict[str, Any]:
    estimate = context.estimates.get(arm.name)
    nothing = Interval(math.nan, math.nan, math.nan)
    interval = estimate.accuracy if estimate else nothing
    gap = estimate.difference if estimate else arm.status
    bounds = gap if isinstance(gap, Interval) else nothing
    spread = float(np.std(estimate.by_seed, ddof=1)) if estimate and len(estimate.by_seed) > 1 else math.nan
    return {
        "experiment": arm.name,
        "title": arm.title + _split_note(context, arm),
        "kind": "control" if arm.is_control else "experiment",
        "status": arm.status,
        "seeds": len(arm.runs),
        "seeds_planned": arm.seeds_planned,
        "accuracy": interval.mean,
        "accuracy_low": interval.low,
        "accuracy_high": interval.high,
        "seed_spread": spread,
        "difference": bounds.mean,
        "difference_low": bounds.low,
        "difference_high": bounds.high,
        "difference_note": "" if isinstance(gap, Interval) else gap,
        "video_top5": arm.value("video_top5"),
        "clip_top1": arm.value("clip_top1"),
        "video_nll": arm.value("video_nll"),
        "macs_per_clip": arm.cost("macs_per_clip"),
        "parameters": arm.cost("parameters"),
        "train_time_s": arm.cost("train_time"),
        "verdict": estimate.verdict.sentence if estimate and estimate.verdict else "",
        "verdict_outcome": estimate.verdict.outcome if estimate and estimate.verdict else "",
    }


def _split_note(context: Context, arm: Arm) -> str:
    """Marks a run cut in time among others that are not, where the page's own warning does not stand."""
    splits = {run.config.data.splits for run in arm.runs}
    return "; same videos in all splits" if splits - {context.config.data.splits} == {"by_time"} else ""


def _columns(data: pd.DataFrame) -> tuple[Column, ...]:
    return (
        Column("Experiment", _name_cell),
        Column("Video top-1, %", _accuracy_cell, numeric=True, help="share of test videos right; the headline"),
        Column("Minus dense video", _difference_cell, numeric=True, help="percentage points, paired"),
        Column("Check", _verdict_cell, help="what a control was run for"),
        number_column(
            "video_top5", "Top-5, %", "{:.1f}", 100.0, "share of test videos with the class among the first five"
        ),
        number_column("clip_top1", "Clip top-1, %", "{:.1f}", 100.0, "share of single windows right"),
        number_column("video_nll", "NLL, nat", "{:.3f}", explanation="mean -log p of the true class; lower is better"),
        Column("Seeds", _seeds_cell, numeric=True, help="finished of planned; below: standard deviation over seeds"),
        number_column("macs_per_clip", "MACs, M", "{:,.1f}", 1e-6, "multiply-accumulates per clip"),
        number_column("parameters", "Weights, k", "{:,.0f}", 1e-3, "trainable parameters"),
        number_column(
            "train_time_s", "Training, s", "{:,.1f}", explanation="wall time of the training steps, one seed"
        ),
    )


def _name_cell(row: dict[str, Any]) -> Cell:
    href = "" if row["kind"] == "chance" else f"#run-{row['experiment']}"
    tag = "control · " if row["kind"] == "control" and not row["title"].startswith("Control") else ""
    return Cell(row["experiment"], row["experiment"], note=tag + row["title"], href=href)


def _accuracy_cell(row: dict[str, Any]) -> Cell:
    if is_missing(row["accuracy"]):
        return Cell(row["status"], None, kind="muted", note="see the log" if row["status"] == "unfinished" else "")
    if is_missing(row["accuracy_low"]):
        return Cell(f"{100 * row['accuracy']:.1f}", row["accuracy"])
    interval = Interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"])
    return Cell(f"{100 * interval.mean:.1f}", interval.mean, note=percent_bounds(interval)[:-2])


def _difference_cell(row: dict[str, Any]) -> Cell:
    if is_missing(row["difference"]):
        note = row["difference_note"]
        return Cell("–" if is_missing(note) else note, None, kind="muted")
    interval = Interval(row["difference"], row["difference_low"], row["difference_high"])
    mark = "" if not interval.excludes_zero else "▲ " if interval.low > 0 else "▼ "
    coloured = interval.excludes_zero and row["kind"] == "experiment"
    kind: Kind = "" if not coloured else "better" if interval.low > 0 else "worse"
    return Cell(mark + points(interval.mean), interval.mean, note=point_bounds(interval), kind=kind)


def _seeds_cell(row: dict[str, Any]) -> Cell:
    if is_missing(row["seeds"]):
        return Cell("–", None, kind="muted")
    spread = "" if is_missing(row["seed_spread"]) else f"± {100 * row['seed_spread']:.1f}"
    planned = max(row["seeds"], row["seeds_planned"])
    return Cell(f"{row['seeds']:.0f} of {planned:.0f}", row["seeds"], note=spread)


def _verdict_cell(row: dict[str, Any]) -> Cell:
    if is_missing(row["verdict"]) or not row["verdict"]:
        return Cell("–" if row["kind"] != "control" or row["status"] == "done" else row["status"], "", kind="muted")
    verdict = Verdict(row["verdict_outcome"], row["verdict"])
    kinds: dict[str, Kind] = {"passed": "better", "failed": "worse", "open": ""}
    return Cell(f"{verdict.mark} {verdict.sentence}", verdict.sentence, kind=kinds[verdict.outcome])


def _figure(context: Context, data: pd.DataFrame) -> Figure:
    shown = data[data["experiment"].isin(context.estimates)].copy()
    shown["experiment"] = [arm.short_name for arm in context.arms if arm.name in context.estimates]
    for name in ("accuracy", "accuracy_low", "accuracy_high", "difference", "difference_low", "difference_high"):
        shown[name] = 100 * shown[name]
    shown["label"] = labels(shown, "{experiment}: {accuracy:.1f} % ({accuracy_low:.1f} to {accuracy_high:.1f})")
    shown["difference_label"] = labels(
        shown, "{experiment}: {difference:+.1f} points ({difference_low:+.1f} to {difference_high:+.1f})"
    )
    columns = ["experiment", "kind", "accuracy", "accuracy_low", "accuracy_high", "difference", "difference_low"]
    chart_data = shown[[*columns, "difference_high", "label", "difference_label"]].reset_index(drop=True)
    baseline = context.estimates.get(BASELINE)
    lead = f"Dense video reaches {100 * baseline.accuracy.mean:.1f} %. " if baseline else ""
    description = lead + f"Guessing gives {100 * (context.chance or 0):.1f} %. " + "; ".join(shown["label"])
    twin = (
        text_column("experiment", "Experiment"),
        text_column("kind", "Kind"),
        *(number_column(name, name.replace("_", " "), "{:.1f}") for name in [*columns[2:], "difference_high"]),
    )
    return Figure(
        "accuracy",
        "Accuracy by experiment",
        "Left: share of test videos right; the dashed line is guessing. Right: difference to dense video on the same "
        "videos and seeds; the dashed line is no difference. Bars are 95 % bounds; diamonds are controls.",
        description,
        accuracy_chart(chart_data, 100 * (context.chance or 0), description),
        chart_data,
        twin,
    )
