"""Metrics equal their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.trainer.metrics import (
    UNITS,
    Metric,
    long_table,
    mean_over_windows,
    negative_log_likelihood,
    top_k_share,
    video_metrics,
)


def probabilities(rows: int, classes: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows)


@given(st.integers(1, 20), st.integers(2, 8), st.integers(0, 99))
def test_top_k_grows_with_k_and_reaches_one(rows: int, classes: int, seed: int) -> None:
    values = probabilities(rows, classes, seed)
    labels = np.random.default_rng(seed + 1).integers(0, classes, rows)
    shares = [top_k_share(values, labels, k) for k in range(1, classes + 1)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert shares[0] == pytest.approx((values.argmax(axis=1) == labels).mean())


@given(st.integers(1, 6), st.integers(0, 99))
def test_mean_over_windows_ignores_window_order_and_equals_a_plain_mean(videos: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    owner = np.concatenate([np.arange(videos), rng.integers(0, videos, 10)])
    values = probabilities(len(owner), 4, seed)
    order = rng.permutation(len(owner))
    mean = mean_over_windows(values, owner, videos)
    np.testing.assert_allclose(mean, mean_over_windows(values[order], owner[order], videos), atol=1e-12)
    for video in range(videos):
        np.testing.assert_allclose(mean[video], values[owner == video].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(mean.sum(axis=1), 1.0, atol=1e-12)


def test_likelihood_of_certain_and_uniform_answers() -> None:
    labels = np.array([0, 1, 2])
    assert negative_log_likelihood(np.eye(3), labels) == pytest.approx(0.0)
    assert negative_log_likelihood(np.full((3, 3), 1 / 3), labels) == pytest.approx(np.log(3))


def test_accuracy_with_and_without_sound_averages_to_the_whole() -> None:
    values, labels = probabilities(40, 3, 0), np.arange(40) % 3
    has_audio = np.arange(40) % 4 != 0
    metrics = video_metrics(values, labels, has_audio)
    weighted = (
        has_audio.mean() * metrics[Metric.VIDEO_TOP1_WITH_AUDIO]
        + (~has_audio).mean() * metrics[Metric.VIDEO_TOP1_WITHOUT_AUDIO]
    )
    assert metrics[Metric.VIDEO_TOP1] == pytest.approx(weighted)
    assert Metric.VIDEO_TOP1_WITHOUT_AUDIO not in video_metrics(values, labels, np.ones(40, dtype=bool))


def test_every_metric_has_a_unit_and_a_row() -> None:
    assert set(UNITS) == set(Metric)
    table = long_table("EXP", 1, {"val": {Metric.VIDEO_TOP1: 0.5}, "test": {Metric.VIDEO_NLL: 1.0}})
    assert table.to_dict("records")[1] == {
        "experiment": "EXP",
        "seed": 1,
        "split": "test",
        "metric": "video_nll",
        "value": 1.0,
        "unit": "nat",
    }
