"""Intervals for accuracies and their differences, over groups of videos and training seeds.

Clips of one group (gXX of a class) share their background and actor, and all videos of a seed share one trained
network: scores are independent over neither. So both are resampled, as two crossed factors (Owen 2007, "The
pigeonhole bootstrap"), and one cluster fewer than there are is drawn, which makes the variance unbiased for few
seeds (Rao & Wu 1988). With one seed only groups are resampled; the interval then says nothing about training noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

RESAMPLES = 10_000
BATCH = 1_000


@dataclass(frozen=True)
class Interval:
    """An estimate with its lower and upper bound, in the unit of the scores."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the bounds."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class NonInferiority:
    """The loss of a candidate against a reference (positive: worse) and whether it stays below a margin."""

    loss: Interval
    upper_bound: float
    margin: float
    holds: bool


@dataclass(frozen=True)
class ChanceCheck:
    """How many standard errors an accuracy lies from chance."""

    accuracy: float
    chance: float
    standard_errors: float
    at_chance: bool


def single_arm(
    scores: Num[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    seeds: Shaped[np.ndarray, " N"],
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean score of one arm with percentile bounds.

    Args:
        scores: one score per video and training seed, e.g. 1.0 where the video was classified correctly.
        groups: the group each row belongs to; a gXX of two classes is two groups.
        seeds: the training seed each row belongs to.
        resamples: bootstrap draws.
        level: coverage aimed at.
        seed: seed of the draws.

    Raises:
        ValueError: there are no rows, or a group has no row for some seed.
    """
    cells = _cells(scores, groups, seeds)
    draws = _bootstrap_means(cells, resamples, seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(cells.mean, float(low), float(high))


def paired_bootstrap(
    a: Num[np.ndarray, " N"],
    b: Num[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    seeds: Shaped[np.ndarray, " N"],
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean of `a - b` with percentile bounds; row i of both arms is the same video and the same seed.

    Raises:
        ValueError: as `single_arm`.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return single_arm(difference, groups, seeds, resamples=resamples, level=level, seed=seed)


def non_inferiority(
    candidate: Num[np.ndarray, " N"],
    reference: Num[np.ndarray, " N"],
    groups: Shaped[np.ndarray, " N"],
    seeds: Shaped[np.ndarray, " N"],
    *,
    margin: float,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> NonInferiority:
    """Whether the candidate loses less than `margin` against the reference, at one-sided confidence `level`.

    Raises:
        ValueError: a negative margin, or as `single_arm`.
    """
    if margin < 0:
        raise ValueError(f"margin={margin}: a tolerated loss is not negative")
    two_sided = 2 * level - 1
    loss = paired_bootstrap(reference, candidate, groups, seeds, resamples=resamples, level=two_sided, seed=seed)
    return NonInferiority(loss, loss.high, margin, loss.high < margin)


def standard_error(
    scores: Num[np.ndarray, " N"], groups: Shaped[np.ndarray, " N"], seeds: Shaped[np.ndarray, " N"]
) -> float:
    """Analytic standard error of the mean over two crossed factors (Cameron, Gelbach & Miller 2011).

        V = V_groups + V_seeds - V_cells, and at least the larger of the first two

    With one seed it is the standard error over groups; with one group, over seeds; with one of each, NaN.

    Raises:
        ValueError: as `single_arm`.
    """
    cells = _cells(scores, groups, seeds)
    residuals = cells.sums - cells.mean * cells.counts
    total = cells.counts.sum()
    by_group = _cluster_variance(residuals.sum(axis=1), total)
    by_seed = _cluster_variance(residuals.sum(axis=0), total)
    if np.isnan(by_group) or np.isnan(by_seed):
        return float(np.sqrt(by_seed if np.isnan(by_group) else by_group))
    by_cell = _cluster_variance(residuals.ravel(), total)
    return float(np.sqrt(max(by_group, by_seed, by_group + by_seed - by_cell)))


def chance_check(accuracy: float, standard_error: float, chance: float, *, tolerance: float = 2.0) -> ChanceCheck:
    """Whether `accuracy` lies within `tolerance` standard errors of `chance`.

    A standard error of zero or NaN gives no scale: only an accuracy equal to chance then counts as chance.
    """
    distance = accuracy - chance
    if np.isclose(distance, 0.0, atol=1e-12):
        return ChanceCheck(accuracy, chance, 0.0, True)
    scale = standard_error if standard_error > 0 else 0.0
    standard_errors = distance / scale if scale else float(np.copysign(np.inf, distance))
    return ChanceCheck(accuracy, chance, float(standard_errors), abs(standard_errors) <= tolerance)


@dataclass(frozen=True)
class _Cells:
    """Sum and number of scores in each (group, seed) cell."""

    sums: Float[np.ndarray, "G S"]
    counts: Float[np.ndarray, "G S"]

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.counts.sum())


def _cells(scores: Num[np.ndarray, " N"], groups: Shaped[np.ndarray, " N"], seeds: Shaped[np.ndarray, " N"]) -> _Cells:
    if len(scores) == 0:
        raise ValueError("no scores: an empty arm has no mean")
    group_names, group_index = np.unique(groups, return_inverse=True)
    seed_names, seed_index = np.unique(seeds, return_inverse=True)
    shape = (len(group_names), len(seed_names))
    cell = group_index * shape[1] + seed_index
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    if not counts.all():
        group, column = np.argwhere(counts == 0)[0]
        raise ValueError(f"group {group_names[group]} has no score for seed {seed_names[column]}: factors must cross")
    sums = np.bincount(cell, weights=np.asarray(scores, dtype=np.float64), minlength=counts.size).reshape(shape)
    return _Cells(sums, counts)


def _bootstrap_means(cells: _Cells, resamples: int, seed: int) -> Float[np.ndarray, " R"]:
    generator = np.random.default_rng(seed)
    n_groups, n_seeds = cells.sums.shape
    means = []
    for start in range(0, resamples, BATCH):
        size = min(BATCH, resamples - start)
        group_weights = _resample_counts(generator, n_groups, size)
        seed_weights = _resample_counts(generator, n_seeds, size)
        totals = ((group_weights @ cells.sums) * seed_weights).sum(axis=1)
        counts = ((group_weights @ cells.counts) * seed_weights).sum(axis=1)
        means.append(totals / counts)
    return np.concatenate(means)


def _resample_counts(generator: np.random.Generator, clusters: int, size: int) -> Int[np.ndarray, "R K"]:
    """How often each cluster is drawn, in `size` draws of one cluster fewer than there are."""
    return generator.multinomial(max(clusters - 1, 1), np.full(clusters, 1 / clusters), size=size)


def _cluster_variance(residual_sums: Float[np.ndarray, " K"], total: float) -> float:
    """Variance of a mean over `total` scores from its clusters' summed residuals; NaN for one cluster."""
    clusters = len(residual_sums)
    if clusters == 1:
        return float("nan")
    return float(clusters / (clusters - 1) * (residual_sums**2).sum() / total**2)
