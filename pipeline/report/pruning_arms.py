"""What the page says about each pruned experiment: accuracy, MACs, measured time, tokens, and what was asked for."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..experiments import variant_of
from .accuracy import accuracy, difference
from .context import BASELINE, Context
from .statistics import Interval
from .tables import Arm, Run

# A dense run and the same one trained for as many further steps: what pruned runs are compared with.
REFERENCES = {"video": ("EXP-P1V-C3-dense-continued", BASELINE)}
REFERENCES["video and sound"] = ("EXP-P1AV-C5-early-continued", "EXP-P1AV-C1-early-fusion")
KINDS = {"token": "tokens", "head": "heads", "ch": "channels", "block": "branches"}
ELSEWHERE = ("smoke", "phase2", "phase3")
METRIC_OF_KIND = {kind: f"sparsity_{kind}" for kind in KINDS}


def is_pruned(arm: Arm) -> bool:
    """Whether an experiment drops tokens or closes gates."""
    return bool(arm.runs) and arm.runs[0].config.training.mode != "dense_baseline"


def pruned_arms(context: Context) -> tuple[Arm, ...]:
    """Finished experiments and variants with a pruner; smoke runs claim nothing, designs of several chips have a
    section of their own."""
    found = [arm for arm in (*context.finished, *context.variants) if is_pruned(arm)]
    return tuple(arm for arm in found if arm.entry is None or arm.entry.phase not in ELSEWHERE)


def name_of(arm: Arm) -> str:
    """The ID without its prefix, or a variant's own name."""
    return variant_of(arm.name) or arm.short_name


def modality(arm: Arm) -> str:
    """`video`, or `video and sound`."""
    return "video and sound" if arm.runs[0].config.data.use_audio else "video"


def compared(context: Context, kind: str) -> pd.DataFrame:
    """One row per arm of a modality that can stand in a plot of accuracy over cost, dense ones first.

    Returns:
        columns experiment, title, family (dense | ours | other rule), accuracy, accuracy_low, accuracy_high,
        difference, difference_low, difference_high (to the reference), reference, macs (over those of the dense run),
        time (over that of a dense network timed in turns; for other dense models over the dense run's), kept_tokens,
        target_kept, seeds; shares.
    """
    dense = next((arm for arm in map(context.arm, REFERENCES[kind][::-1]) if arm is not None and arm.runs), None)
    reference = next((arm for arm in map(context.arm, REFERENCES[kind]) if arm is not None and arm.runs), None)
    if dense is None or reference is None:
        return pd.DataFrame()
    others = [arm for arm in context.variants if arm.runs and not is_pruned(arm)]
    arms = {arm.name: arm for arm in (dense, reference, *pruned_arms(context), *others)}
    return pd.DataFrame([_row(arm, dense, reference) for arm in arms.values() if modality(arm) == kind])


def _row(arm: Arm, dense: Arm, reference: Arm) -> dict[str, Any]:
    interval = accuracy(arm)
    gap = None if arm is reference else difference(arm, reference)
    nothing = Interval(math.nan, math.nan, math.nan)
    shown, bounds = interval or nothing, gap if isinstance(gap, Interval) else nothing
    macs, full = _first(arm, "compact_macs_per_clip", "macs_per_clip"), dense.cost("macs_per_clip")
    return {
        "experiment": name_of(arm),
        "title": arm.title,
        "family": _family(arm),
        "accuracy": shown.mean,
        "accuracy_low": shown.low,
        "accuracy_high": shown.high,
        "difference": bounds.mean,
        "difference_low": bounds.low,
        "difference_high": bounds.high,
        "reference": name_of(reference),
        "macs": math.nan if macs is None or not full else macs / full,
        "time": _time(arm, dense),
        "kept_tokens": arm.value("kept_tokens"),
        "target_kept": arm.value("target_tokens_kept"),
        "seeds": len(arm.runs),
    }


def _family(arm: Arm) -> str:
    if not is_pruned(arm):
        return "dense"
    settings = arm.runs[0].config.ast
    literal = settings.time_score == "entropy" or settings.mask_site == "value"
    return "other rule" if settings.selector != "ast" or literal else "ours"


def _first(arm: Arm, *metrics: str) -> float | None:
    return next((value for value in map(arm.cost, metrics) if value is not None), None)


def _time(arm: Arm, dense: Arm) -> float:
    """Time of a forward pass over that of a dense network, the mean over seeds of each run's own ratio."""
    ratios = [ratio for ratio in map(_ratio, arm.runs) if ratio is not None]
    if ratios:
        return sum(ratios) / len(ratios)
    if is_pruned(arm):
        return math.nan
    if arm.runs[0].config.model == dense.runs[0].config.model:
        return 1.0
    own, other = arm.cost("forward_time"), dense.cost("forward_time")
    return math.nan if own is None or not other else own / other


def _ratio(run: Run) -> float | None:
    values = run.cost.set_index("metric")["value"]
    own = values.get("compact_forward_time", values.get("forward_time"))
    dense = values.get("dense_forward_time")
    return None if own is None or not dense else float(own / dense)


def asked_and_got(arm: Arm) -> pd.DataFrame:
    """Target and realised sparsity of each kind on the test videos: experiment, kind, target, realised, off by."""
    settings = arm.runs[0].config.ast
    targets = {
        "token": 1.0 - settings.keep_shares()[-1],
        "head": settings.target_head,
        "ch": settings.target_ch,
        "block": settings.target_block,
    }
    rows = []
    for kind, target in targets.items():
        realised = arm.value(METRIC_OF_KIND[kind])
        if realised is not None:
            rows.append((name_of(arm), KINDS[kind], target, realised, realised - target))
    return pd.DataFrame(rows, columns=["experiment", "kind", "target", "realised", "off_by"])


def sparsity_curves(arm: Arm) -> pd.DataFrame:
    """Sparsity by kind and layer over training, mean over seeds: epoch, kind, layer (`all` or `block k`), value."""
    tables = []
    for run in arm.runs:
        mine = run.history[run.history["metric"].str.startswith("sparsity_")]
        parts = mine["metric"].str.removeprefix("sparsity_").str.split("/", expand=True).reindex(columns=[0, 1])
        tables.append(
            mine.assign(kind=parts[0].map(KINDS), layer=parts[1].fillna("all").str.replace("block", "block "))
        )
    table = pd.concat(tables, ignore_index=True)
    return table.groupby(["kind", "layer", "epoch"], as_index=False, sort=False)[["value"]].mean()
