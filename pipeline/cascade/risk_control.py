"""The threshold tau with a guarantee: one whose risk is shown to stay below a bound, and that asks no more than it may.

Risk is what the cascade may lose: the share of windows that the simple model keeps and gets wrong where the complex
model is right, over all windows and over ictal ones. Thresholds are tested on the calibration split from the
strictest down, and testing stops at the first that fails; testing in a fixed order keeps the stated level without a
correction for many tests (Angelopoulos et al., "Learn then Test", 2021; early exits: Jazbec et al. 2024). The level
holds for all thresholds that pass at once, so one may be chosen among them by its calls: the strictest that keeps a
budget of calls, for a stricter one never risks more.

Windows of one recording resemble each other, so the binomial bound (Clopper & Pearson 1934) uses the effective number
of windows: their number over the design effect of the recordings (Korn & Graubard 1998).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped
from scipy import special

from .cascade_models import threshold_of

# A fixed grid, not quantiles of the calibration margins: a grid chosen by the data would be tested on them twice.
# Steps are powers of two, so that each margin is an integer in fixed point.
MARGINS: tuple[float, ...] = tuple(0.125 * step for step in range(96, -1, -1))
PRIOR_CORRELATION = 0.02


@dataclass(frozen=True)
class Verdicts:
    """What both models say about a set of windows; rows belong to recordings (`blocks`)."""

    margin: Float[np.ndarray, " N"]
    simple_right: Bool[np.ndarray, " N"]
    complex_right: Bool[np.ndarray, " N"]
    ictal: Bool[np.ndarray, " N"]
    blocks: Shaped[np.ndarray, " N"]

    def losses(self, margin: float) -> Bool[np.ndarray, " N"]:
        """Windows that the cascade gets wrong because it did not ask."""
        return (self.margin > margin) & ~self.simple_right & self.complex_right

    def take(self, chosen: Bool[np.ndarray, " N"] | Int[np.ndarray, " M"]) -> Verdicts:
        """The verdicts of some rows."""
        return Verdicts(*(value[chosen] for value in vars(self).values()))


@dataclass(frozen=True)
class Calibration:
    """The chosen margin (infinite: every window is routed), the tests that led to it, and why it ended there."""

    margin: float
    table: pd.DataFrame
    reason: str


def clustered_upper_bound(losses: Bool[np.ndarray, " N"], blocks: Int[np.ndarray, " N"], level: float) -> float:
    """Upper confidence bound on a share at one-sided confidence 1 - level, for windows in correlated blocks.

    Clopper and Pearson's bound with the effective number of windows; a quantile of Student's t for one of the normal
    distribution accounts for a design effect that was itself estimated from few blocks.

    Args:
        losses: one row per window.
        blocks: number of the recording of each row, from 0.
        level: probability that the bound is broken.
    """
    total = len(losses)
    if not total:
        return 1.0
    sizes = np.bincount(blocks).astype(float)
    clusters = int((sizes > 0).sum())
    effective = total / design_effect(losses, blocks)
    if clusters > 1:
        few = special.stdtrit(total - 1, 1.0 - level) / special.stdtrit(clusters - 1, 1.0 - level)
        effective *= min(1.0, float(few) ** 2)
    successes = float(losses.mean()) * effective
    if successes >= effective:
        return 1.0
    return float(special.betaincinv(successes + 1.0, effective - successes, 1.0 - level))


def design_effect(losses: Bool[np.ndarray, " N"], blocks: Int[np.ndarray, " N"]) -> float:
    """Variance of the mean of clustered rows over that of independent ones, at least its prior value.

    Without a single loss, or with a single block, the data say nothing about correlation; the prior takes windows of
    a block to be as correlated as `PRIOR_CORRELATION`.
    """
    sizes = np.bincount(blocks).astype(float)
    total, clusters = sizes.sum(), int((sizes > 0).sum())
    prior = 1.0 + PRIOR_CORRELATION * (float((sizes**2).sum() / total) - 1.0)
    share = float(losses.mean())
    if clusters < 2 or share in (0.0, 1.0):
        return prior
    residuals = np.bincount(blocks, weights=losses - share)
    clustered = clusters / (clusters - 1) * float((residuals**2).sum()) / total**2
    return max(prior, clustered * total / (share * (1.0 - share)))


def calibrate(
    verdicts: Verdicts, max_risk: float, max_ictal_risk: float, level: float, *, call_budget: float = 0.0
) -> Calibration:
    """Choose the margin on the calibration split.

    Both bounds must hold at a margin, each at `level`: a margin that breaks either bound passes with probability at
    most `level`, and so does the first such margin in the order of the tests.

    Args:
        verdicts: what both models say about the calibration windows.
        max_risk: bound on the risk among all windows.
        max_ictal_risk: the same among ictal windows.
        level: probability that the chosen margin breaks a bound.
        call_budget: of the margins that pass, the strictest that asks about at most this share of the windows is
            chosen, and the loosest where none is that cheap; 0 chooses the loosest.
    """
    rows = []
    stopped = ""
    _, blocks = np.unique(verdicts.blocks, return_inverse=True)
    for candidate in MARGINS:
        losses = verdicts.losses(candidate)
        risk = clustered_upper_bound(losses, blocks, level)
        ictal_risk = clustered_upper_bound(losses[verdicts.ictal], blocks[verdicts.ictal], level)
        passed = risk <= max_risk and ictal_risk <= max_ictal_risk
        accepted = float((verdicts.margin > candidate).mean())
        rows.append((candidate, threshold_of(candidate), accepted, float(losses.mean()), risk, ictal_risk, passed))
        if not passed:
            stopped = _why(candidate, risk, max_risk, ictal_risk, max_ictal_risk, int(losses.sum()))
            break
    columns = ["margin", "threshold", "accepted", "risk", "risk_bound", "ictal_risk_bound", "passed"]
    table = pd.DataFrame(rows, columns=columns)
    margin, affordable = _strictest_affordable(table[table["passed"]], call_budget)
    ended = stopped or "every margin of the grid passed"
    reason = f"calls keep the budget of {call_budget:.0%}; {ended}" if affordable else ended
    return Calibration(margin, table, reason)


def _strictest_affordable(passed: pd.DataFrame, call_budget: float) -> tuple[float, bool]:
    """The margin to deploy, of tested rows in order from strict to loose, and whether the budget decided it."""
    if passed.empty:
        return np.inf, False
    calls = 1.0 - passed["accepted"].to_numpy()
    # Floating-point dust must not turn a share that equals the budget into one above it.
    cheap = np.flatnonzero(calls <= call_budget + 1e-12)
    chosen = int(cheap[0]) if call_budget > 0 and len(cheap) else len(passed) - 1
    return float(passed["margin"].iloc[chosen]), chosen < len(passed) - 1


def _why(margin: float, risk: float, max_risk: float, ictal: float, max_ictal: float, losses: int) -> str:
    broken = [
        f"{name} {bound:.4f} > {limit:g}"
        for name, bound, limit in (("risk bound", risk, max_risk), ("ictal risk bound", ictal, max_ictal))
        if bound > limit
    ]
    text = f"stopped at margin {margin:g} (tau {threshold_of(margin):.4f}): {' and '.join(broken)}"
    if margin == MARGINS[0] and not losses:
        text += "; without a single loss, so the calibration split is too small for these bounds"
    return text


def violation_rate(
    verdicts: Verdicts,
    max_risk: float,
    max_ictal_risk: float,
    level: float,
    *,
    call_budget: float = 0.0,
    resamples: int = 200,
    seed: int = 0,
) -> float:
    """Share of block resamples in which a margin calibrated on drawn recordings breaks a bound on the others.

    Each resample draws half of the recordings for calibration and measures the risk on those it did not draw.

    Raises:
        ValueError: fewer than four recordings.
    """
    names = np.unique(verdicts.blocks)
    if len(names) < 4:
        raise ValueError(f"{len(names)} recordings: resampling needs at least four")
    generator = np.random.default_rng(seed)
    broken = 0
    for _ in range(resamples):
        drawn = generator.permutation(names)[: len(names) // 2]
        inside = np.isin(verdicts.blocks, drawn)
        chosen = calibrate(verdicts.take(inside), max_risk, max_ictal_risk, level, call_budget=call_budget)
        unseen = verdicts.take(~inside)
        losses = unseen.losses(chosen.margin)
        ictal = losses[unseen.ictal].mean() if unseen.ictal.any() else 0.0
        broken += bool(losses.mean() > max_risk or ictal > max_ictal_risk)
    return broken / resamples
