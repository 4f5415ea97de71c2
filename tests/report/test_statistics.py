"""Properties of the bootstrap and the standard errors every claim rests on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.report.statistics import (
    chance_check,
    non_inferiority,
    paired_bootstrap,
    single_arm,
    standard_error,
)


def crossed(groups: int, seeds: int, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Group and seed labels of `groups` x `seeds` x `clips` rows."""
    rows = [(g, s) for g in range(groups) for s in range(seeds) for _ in range(clips)]
    return tuple(np.array(rows).T)  # type: ignore[return-value]


def simulated(rng: np.random.Generator, groups: np.ndarray, seeds: np.ndarray, group_sd: float, seed_sd: float):
    """Scores with mean 0.1, an effect of each group and seed, and noise of sd 0.3."""
    group_effect = rng.normal(0, group_sd, groups.max() + 1)
    seed_effect = rng.normal(0, seed_sd, seeds.max() + 1)
    return 0.1 + group_effect[groups] + seed_effect[seeds] + rng.normal(0, 0.3, len(groups))


scores = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@pytest.mark.parametrize(("group_sd", "seed_sd"), [(0.2, 0.03), (0.2, 0.0), (0.0, 0.0)])
def test_bounds_cover_the_true_mean(group_sd: float, seed_sd: float) -> None:
    groups, seeds = crossed(30, 5, 2)
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(300):
        interval = single_arm(simulated(rng, groups, seeds, group_sd, seed_sd), groups, seeds, resamples=500)
        hits += interval.low <= 0.1 <= interval.high
    # 0.95 less 3 binomial standard errors; two crossed factors count pure noise twice, hence no tight upper limit
    assert hits / 300 >= 0.91
    if group_sd:
        assert hits / 300 <= 0.99


def test_ignoring_groups_would_miss_the_coverage() -> None:
    """The reason for clusters: rows resampled as if independent cover far less than they promise."""
    groups, seeds = crossed(30, 1, 10)
    rng = np.random.default_rng(3)
    clustered = independent = 0
    for _ in range(200):
        values = simulated(rng, groups, seeds, 0.3, 0.0)
        by_group = single_arm(values, groups, seeds, resamples=300)
        by_row = single_arm(values, np.arange(len(values)), seeds, resamples=300)
        clustered += by_group.low <= 0.1 <= by_group.high
        independent += by_row.low <= 0.1 <= by_row.high
    assert clustered / 200 >= 0.90
    assert independent / 200 <= 0.75


@given(scores)
@settings(max_examples=20, deadline=None)
def test_swapping_the_arms_flips_the_interval(rng: np.random.Generator) -> None:
    groups, seeds = crossed(12, 3, 2)
    a, b = rng.random(len(groups)), rng.random(len(groups))
    forward = paired_bootstrap(a, b, groups, seeds, resamples=400)
    backward = paired_bootstrap(b, a, groups, seeds, resamples=400)
    assert forward.mean == pytest.approx(-backward.mean)
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))


@given(scores)
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_does_not_matter(rng: np.random.Generator) -> None:
    groups, seeds = crossed(10, 2, 3)
    values = rng.random(len(groups))
    order = rng.permutation(len(groups))
    names = np.array([f"class{g % 3}/g{g:02d}" for g in groups])
    sorted_rows = single_arm(values, names, seeds, resamples=300)
    shuffled_rows = single_arm(values[order], names[order], seeds[order], resamples=300)
    assert (sorted_rows.mean, sorted_rows.low, sorted_rows.high) == pytest.approx(
        (shuffled_rows.mean, shuffled_rows.low, shuffled_rows.high), abs=1e-12
    )
    assert standard_error(values, names, seeds) == pytest.approx(
        standard_error(values[order], names[order], seeds[order])
    )


def test_equal_arms_differ_by_exactly_nothing() -> None:
    groups, seeds = crossed(8, 2, 2)
    values = np.random.default_rng(0).random(len(groups))
    interval = paired_bootstrap(values, values, groups, seeds)
    assert (interval.mean, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert not interval.excludes_zero


def test_pairing_removes_what_the_arms_share() -> None:
    groups, seeds = crossed(20, 1, 2)
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 1.0, 20)[groups]
    a, b = shared + 0.2 + rng.normal(0, 0.1, len(groups)), shared + rng.normal(0, 0.1, len(groups))
    paired = paired_bootstrap(a, b, groups, seeds)
    alone = single_arm(a, groups, seeds)
    assert paired.low > 0.1
    assert paired.high < 0.3
    assert (alone.high - alone.low) > 5 * (paired.high - paired.low)


def test_independent_rows_give_the_textbook_standard_error() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0.5, 0.2, 400)
    groups, seeds = np.arange(400), np.zeros(400, dtype=int)
    textbook = values.std(ddof=1) / np.sqrt(400)
    assert standard_error(values, groups, seeds) == pytest.approx(textbook)
    interval = single_arm(values, groups, seeds)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * textbook, rel=0.03)


def test_few_seeds_are_not_underestimated() -> None:
    """Drawing one seed fewer gives the unbiased variance; drawing all would shrink it by (S - 1) / S."""
    groups, seeds = crossed(50, 3, 1)
    values = np.array([0.0, 0.1, 0.2])[seeds]
    interval = single_arm(values, groups, seeds, level=0.6827)
    assert standard_error(values, groups, seeds) == pytest.approx(0.1 / np.sqrt(3))
    assert (interval.high - interval.low) / 2 >= 0.049


def test_unequal_groups_weigh_by_their_videos() -> None:
    groups, seeds = np.array([0, 0, 0, 1]), np.zeros(4, dtype=int)
    assert single_arm(np.array([1.0, 1.0, 1.0, 0.0]), groups, seeds).mean == 0.75


@pytest.mark.parametrize(("loss", "holds"), [(0.0, True), (0.5, False)])
def test_non_inferiority_asks_for_the_upper_bound(loss: float, holds: bool) -> None:
    groups, seeds = crossed(40, 2, 2)
    rng = np.random.default_rng(2)
    reference = rng.random(len(groups))
    candidate = reference - loss + rng.normal(0, 0.02, len(groups))
    verdict = non_inferiority(candidate, reference, groups, seeds, margin=0.05)
    assert verdict.holds is holds
    assert verdict.loss.mean == pytest.approx(loss, abs=0.01)
    assert verdict.upper_bound >= verdict.loss.mean


def test_the_bounds_are_one_sided_at_the_level_asked_for() -> None:
    rng = np.random.default_rng(4)
    groups, seeds = np.arange(500), np.zeros(500, dtype=int)
    gain = rng.normal(0, 1, 500)
    verdict = non_inferiority(-gain, np.zeros(500), groups, seeds, margin=1.0, level=0.95)
    assert verdict.upper_bound - verdict.loss.mean == pytest.approx(
        1.645 * standard_error(gain, groups, seeds), rel=0.08
    )


def test_a_group_without_a_seed_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="group b has no score for seed 1"):
        single_arm(np.ones(3), np.array(["a", "a", "b"]), np.array([0, 1, 0]))
    with pytest.raises(ValueError, match="no scores"):
        single_arm(np.ones(0), np.ones(0), np.ones(0))
    with pytest.raises(ValueError, match="not negative"):
        non_inferiority(np.ones(2), np.ones(2), np.arange(2), np.zeros(2), margin=-0.1)


def test_one_group_leaves_the_seeds_and_one_of_each_leaves_nothing() -> None:
    values = np.array([0.4, 0.6])
    assert standard_error(values, np.zeros(2), np.arange(2)) == pytest.approx(0.1)
    assert np.isnan(standard_error(values, np.zeros(2), np.zeros(2)))


def test_chance_is_two_standard_errors_wide() -> None:
    assert chance_check(0.20, 0.03, 1 / 6).at_chance
    assert not chance_check(0.30, 0.03, 1 / 6).at_chance
    assert chance_check(0.05, 0.03, 1 / 6).standard_errors < -3
    assert chance_check(0.25, 0.0, 0.25).at_chance
    assert not chance_check(0.30, 0.0, 0.25).at_chance
    assert not chance_check(0.30, float("nan"), 0.25).at_chance
