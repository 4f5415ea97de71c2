"""What the page says about each experiment's accuracy: bounds, difference to the baseline, and controls' verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from .statistics import ChanceCheck, Interval, chance_check, paired_bootstrap, single_arm, standard_error
from .tables import Arm


@dataclass(frozen=True)
class Verdict:
    """Whether a control does what it must, and the sentence that says so; `open`: these videos cannot tell."""

    outcome: Literal["passed", "failed", "open"]
    sentence: str

    @property
    def mark(self) -> str:
        """The verdict as one character."""
        return {"passed": "✓", "failed": "✗", "open": "?"}[self.outcome]


@dataclass(frozen=True)
class Estimate:
    """The accuracy of one finished experiment and what follows from it; `difference` may be a reason instead."""

    accuracy: Interval
    groups: int
    by_seed: tuple[float, ...]
    difference: Interval | str
    verdict: Verdict | None


def estimates(arms: tuple[Arm, ...], baseline: Arm | None) -> dict[str, Estimate]:
    """The estimate of every experiment that has test predictions."""
    chance = chance_level(arms)
    found = {}
    for arm in arms:
        interval = accuracy(arm)
        if interval is None or chance is None:
            continue
        gap = "the baseline itself" if arm is baseline else difference(arm, baseline)
        groups = scored_videos(arm)["cluster"].nunique()
        decision = verdict(arm, interval, gap, chance)
        found[arm.name] = Estimate(interval, groups, accuracy_by_seed(arm), gap, decision)
    return found


def scored_videos(arm: Arm) -> pd.DataFrame:
    """One row per test video and seed: seed, video_id, cluster (class and group), correct as 0.0 or 1.0."""
    tables = []
    for run in arm.runs:
        test = run.predictions[run.predictions["split"] == "test"]
        cluster = test["label"].astype(str) + "/g" + test["group"].astype(str)
        correct = (test["label"] == test["prediction"]).astype(float)
        tables.append(
            pd.DataFrame(
                {"seed": run.config.seed, "video_id": test["video_id"], "cluster": cluster, "correct": correct}
            )
        )
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["seed", "video_id", "cluster"])


def accuracy(arm: Arm) -> Interval | None:
    """Share of test videos classified correctly, with bounds over groups and seeds; None if nothing was tested."""
    table = scored_videos(arm)
    if table.empty:
        return None
    return single_arm(*_columns(table, "correct"))


def accuracy_by_seed(arm: Arm) -> tuple[float, ...]:
    """The accuracy of each seed."""
    table = scored_videos(arm)
    return () if table.empty else tuple(float(value) for value in table.groupby("seed")["correct"].mean())


def difference(arm: Arm, baseline: Arm | None) -> Interval | str:
    """Accuracy of `arm` minus `baseline` on the same videos and seeds, or the reason why they cannot be compared."""
    if baseline is None or not baseline.runs:
        return "baseline not run"
    ours, theirs = scored_videos(arm), scored_videos(baseline)
    seeds = sorted(set(ours["seed"]) & set(theirs["seed"]))
    if not seeds:
        return "no seed in common"
    ours, theirs = ours[ours["seed"].isin(seeds)], theirs[theirs["seed"].isin(seeds)]
    pairs = ours.merge(theirs, on=["seed", "video_id", "cluster"], suffixes=("_a", "_b"), validate="one_to_one")
    if not len(pairs) == len(ours) == len(theirs):
        return "tested on other videos"
    _, groups, seed_labels = _columns(pairs, "correct_a")
    a, b = pairs["correct_a"].to_numpy(np.float64), pairs["correct_b"].to_numpy(np.float64)
    return paired_bootstrap(a, b, groups, seed_labels)


def chance_level(arms: tuple[Arm, ...]) -> float | None:
    """Accuracy of guessing: one over the number of classes among the labels; None without predictions."""
    labels = {label for arm in arms for run in arm.runs for label in run.predictions["label"]}
    return 1 / len(labels) if labels else None


def verdict(arm: Arm, estimate: Interval, gap: Interval | str, chance: float) -> Verdict | None:
    """What a control was run for: at chance, or below the baseline; None if the experiment promises nothing."""
    if _must_be_at_chance(arm):
        check = check_at_chance(arm, estimate.mean, chance)
        errors = abs(check.standard_errors)
        side = "above" if check.standard_errors > 0 else "below"
        distance = f" ({errors:.1f} standard errors {side})" if 0.05 <= errors < np.inf else ""
        if check.at_chance:
            return Verdict("passed", f"at chance{distance}")
        return Verdict("failed", f"NOT at chance{distance}")
    if arm.runs[0].config.data.audio == "shuffled" and isinstance(gap, Interval):
        if gap.high < 0:
            return Verdict("passed", "below video alone, as it must be")
        if gap.low > 0:
            return Verdict("failed", "ABOVE video alone")
        return Verdict("open", "not to be told from video alone on these videos")
    return None


def check_at_chance(arm: Arm, accuracy: float, chance: float) -> ChanceCheck:
    """How far a control's accuracy lies from chance, in standard errors over groups and seeds.

    The error is at least that of guessing on as many videos.

    A control that gets none of a few videos right varies over no group, yet is no proof of anything.
    """
    table = scored_videos(arm)
    guessing = np.sqrt(chance * (1 - chance) / table["video_id"].nunique())
    error = float(np.fmax(standard_error(*_columns(table, "correct")), guessing))
    return chance_check(accuracy, error, chance)


def _must_be_at_chance(arm: Arm) -> bool:
    background_only = arm.entry is not None and arm.entry.variant == "background"
    return background_only or arm.runs[0].config.data.labels == "scrambled"


def _columns(table: pd.DataFrame, score: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return table[score].to_numpy(np.float64), table["cluster"].to_numpy(str), table["seed"].to_numpy(np.int64)
