"""The analyses find what was put into the signals, and obey their own definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cascade.analysis_correlation import (
    components_for,
    correlation_matrix,
    correlation_table,
    effective_rank,
    redundancy_summary,
)
from pipeline.cascade.analysis_difficulty import (
    confidence_histogram,
    coverage_at_risk,
    difficulty_summary,
    risk_coverage,
)
from pipeline.cascade.analysis_separability import power_spectrum, separability, window_features
from pipeline.cascade.analysis_spectrum import band_powers, evolution, spectra

BANDS = [(0.5, 4.0), (4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 80.0)]
RATE = 512.0


def windows(count=120, channels=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], count // 2)
    return rng.standard_normal((count, channels, 512)).astype(np.float32), labels


def add_rhythm(signals, labels, channel, frequency_hz, amplitude):
    wave = np.sin(2 * np.pi * frequency_hz * np.arange(512) / RATE)
    signals[labels == 1, channel] += (amplitude * wave).astype(np.float32)


def test_the_spectrum_holds_the_variance():
    signals, _ = windows()
    frequency_hz, power = power_spectrum(signals, RATE)
    np.testing.assert_allclose(power.sum(-1).mean() * (frequency_hz[1] - frequency_hz[0]), 1.0, rtol=0.03)


def test_the_channel_with_the_rhythm_separates_best_and_in_its_band():
    (train, labels), (val, val_labels) = windows(seed=1), windows(seed=2)
    for signals, own in ((train, labels), (val, val_labels)):
        add_rhythm(signals, own, 2, 6.0, 0.5)
    names, features = window_features(train, RATE, BANDS)
    table = separability(names, (features, labels), (window_features(val, RATE, BANDS)[1], val_labels), [0, 1, 2, 3])
    assert table["channel"].iloc[0] == 2
    assert table["best_feature"].iloc[0] == "band_4_8"
    assert table["auc"].iloc[0] > 0.95
    assert (table["auc"].iloc[1:] < 0.7).all()
    assert table["rank"].tolist() == [1, 2, 3, 4]


def test_a_channel_that_falls_silent_in_seizures_is_as_good_as_one_that_rises():
    (train, labels), (val, val_labels) = windows(seed=3), windows(seed=4)
    for signals, own in ((train, labels), (val, val_labels)):
        signals[own == 1, 1] *= 0.5
    names, features = window_features(train, RATE, BANDS)
    table = separability(names, (features, labels), (window_features(val, RATE, BANDS)[1], val_labels), [0, 1])
    assert table["channel"].iloc[0] == 1
    assert table["auc_variance"].iloc[0] < 0.05
    assert table["effect_size"].iloc[0] < -1


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_the_histogram_counts_every_window_once(rows):
    table = pd.DataFrame(rows, columns=["p_ictal", "label"])
    histogram = confidence_histogram(table)
    assert histogram["windows"].sum() == len(rows)
    wrong = histogram.loc[~histogram["right"], "windows"].sum()
    assert wrong == ((table["p_ictal"] > 0.5) != (table["label"] == 1)).sum()


def test_easy_windows_are_those_of_high_confidence():
    table = pd.DataFrame({"p_ictal": [0.99, 0.01, 0.6, 0.97], "label": [1, 0, 0, 0]})
    summary = difficulty_summary(table, 0.9)
    assert summary["easy_share"] == 0.75
    assert summary["easy_share_ictal"] == 1.0
    assert summary["accuracy_easy"] == pytest.approx(2 / 3)
    assert summary["accuracy_hard"] == 0.0


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=50), st.floats(0, 0.5))
def test_coverage_at_risk_is_the_largest_that_brute_force_finds(rows, risk):
    margin = np.array([row[0] for row in rows], float)
    right = np.array([row[1] for row in rows], bool)
    best = 0.0
    for threshold in np.unique(margin):
        accepted = margin >= threshold
        if (~right[accepted]).mean() <= risk:
            best = max(best, accepted.mean())
    assert coverage_at_risk(margin, right, risk) == pytest.approx(best)
    curve = risk_coverage(margin, right)
    assert curve["coverage"].is_monotonic_increasing
    assert curve["coverage"].iloc[-1] == 1.0
    assert curve["risk"].iloc[-1] == pytest.approx((~right).mean())


def test_correlation_is_that_of_numpy_and_its_rank_counts_independent_channels():
    signals, _ = windows(count=40, channels=5)
    flat = signals - signals.mean(-1, keepdims=True)
    expected = np.corrcoef(flat.transpose(1, 0, 2).reshape(5, -1))
    np.testing.assert_allclose(correlation_matrix(signals), expected, atol=1e-4)
    assert effective_rank(np.eye(7)) == pytest.approx(7)
    assert effective_rank(np.ones((7, 7))) == pytest.approx(1)
    assert components_for(np.eye(10), 0.9) == 9
    repeated = correlation_matrix(np.repeat(signals[:, :1], 3, axis=1))
    assert effective_rank(repeated) == pytest.approx(1, abs=0.01)
    assert redundancy_summary(repeated)["max_abs_correlation"] == pytest.approx(1, abs=1e-5)


def test_a_silent_channel_correlates_with_nothing():
    signals, _ = windows(count=10)
    signals[:, 1] = 0
    correlation = correlation_matrix(signals)
    assert np.isfinite(correlation).all()
    assert correlation[1].tolist() == [0, 1, 0, 0]


def test_one_channel_alone_has_no_pairs():
    assert correlation_table(np.ones((1, 1)), [0]).empty
    assert redundancy_summary(np.ones((1, 1)))["effective_rank"] == pytest.approx(1)


def test_the_gain_stands_in_the_band_of_the_rhythm():
    signals, labels = windows()
    add_rhythm(signals, labels, 0, 10.0, 1.0)
    gain = band_powers(signals[:, 0], labels, RATE, BANDS).set_index("low_hz")["gain_db"]
    assert gain.idxmax() == 8.0
    assert gain[8.0] > 10
    assert gain.drop(8.0).abs().max() < 3
    spectrum = spectra(signals[:, 0], labels, RATE)
    ictal = spectrum.query("label == 1").set_index("frequency_hz")["power_db"]
    assert ictal.idxmax() == 10.0
    assert (spectrum["low_db"] <= spectrum["high_db"]).all()


def test_the_evolution_follows_the_seizure():
    signals, labels = windows()
    since_s = np.arange(60) / 10.0
    for row, since in zip(np.flatnonzero(labels == 1), since_s, strict=True):
        frequency_hz = 10.0 if since < 3 else 6.0
        signals[row, 0] += 2 * np.sin(2 * np.pi * frequency_hz * np.arange(512) / RATE).astype(np.float32)
    table = evolution(signals[labels == 1, 0], since_s, signals[labels == 0, 0], RATE, BANDS)
    strongest = table.loc[table.groupby("since_onset_s")["gain_db"].idxmax()].set_index("since_onset_s")["low_hz"]
    assert strongest[0.0] == 8.0
    assert strongest[4.0] == 4.0
    assert table.groupby("low_hz")["windows"].sum().eq(60).all()
