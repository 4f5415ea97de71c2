"""What the page says about each design of several chips: its figures, its rivals, the steps that led to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..artifacts import read_parquet
from ..codesign.design import Design, read_design
from ..experiments import load_catalogue, variant_of
from .context import Context
from .statistics import Interval
from .tables import Arm, Run

MODES = ("multi_chip_fixed", "version_c_full")
MAIN = "EXP-P3-1-full-vc"
ABLATION, SWEEP = "ablation_version_c", "sweep_lambda"
STEP_COLUMNS = ("outer", "phase", "step", "term", "value")
RIVAL_COLUMNS = ("design", "library", "gates", "judged_by", "chips", "latency_ms", "energy_j", "edp_j_ms")


@dataclass(frozen=True)
class DesignRun:
    """One finished run: its design, every step of its alternation, and what else could be built."""

    run: Run
    design: Design
    steps: pd.DataFrame
    rivals: pd.DataFrame

    def rival(self, name: str, *, judged_by: str = "edp", gates: str = "final", library: str | None = None) -> dict:
        """The figures of a rival; empty where there is none."""
        library = self.run.config.hw.library if library is None else library
        rows = self.rivals.query("design == @name and judged_by == @judged_by and gates == @gates")
        rows = rows[rows["library"] == library]
        return {} if rows.empty else rows.iloc[0].to_dict()


def design_arms(context: Context) -> tuple[Arm, ...]:
    """Finished experiments and variants with several chips, smoke runs left out, in the catalogue's order."""
    found = [arm for arm in (*context.finished, *context.variants) if arm.runs]
    return tuple(
        arm
        for arm in found
        if arm.runs[0].config.training.mode in MODES and (arm.entry is None or arm.entry.phase != "smoke")
    )


def read_design_run(run: Run) -> DesignRun:
    """The artefacts of a run with several chips.

    Raises:
        DataError: one of them is missing or damaged.
    """
    return DesignRun(
        run,
        read_design(run.folder / "design.json"),
        read_parquet(run.folder / "alternation.parquet", STEP_COLUMNS),
        read_parquet(run.folder / "rivals.parquet", RIVAL_COLUMNS),
    )


def members_of(group: str, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """The arms that are members of a group of the catalogue, and those the group puts beside them."""
    known = load_catalogue().groups[group]
    return tuple(
        arm
        for arm in arms
        if arm.name in known.beside
        or (variant_of(arm.name) in known.variants and arm.name.startswith(f"{known.base}__"))
    )


def ratio_to_main(arm: Arm, main: Arm, metric: str) -> Interval | None:
    """A metric of the whole run over that of the main experiment, paired by seed: mean and 95 % bounds.

    Bounds are of a bootstrap over seeds; with one seed there are none (NaN). None where a seed in common is missing.
    """
    ours, theirs = (_by_seed(one, metric) for one in (arm, main))
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        return None
    logs = np.array([np.log(ours[seed] / theirs[seed]) for seed in seeds])
    if len(seeds) == 1:
        return Interval(float(np.exp(logs[0])), float("nan"), float("nan"))
    drawn = np.random.default_rng(0).integers(0, len(logs), (4000, len(logs)))
    low, high = np.quantile(logs[drawn].mean(axis=1), [0.025, 0.975])
    return Interval(float(np.exp(logs.mean())), float(np.exp(low)), float(np.exp(high)))


def _by_seed(arm: Arm, metric: str) -> dict[int, float]:
    found = {}
    for run in arm.runs:
        rows = run.metrics[(run.metrics["metric"] == metric) & (run.metrics["split"] == "all")]
        if len(rows):
            found[run.config.seed] = float(rows["value"].iloc[0])
    return found
