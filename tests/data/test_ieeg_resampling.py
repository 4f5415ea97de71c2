"""Resampling in blocks equals resampling at once, keeps what fits and removes what does not."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import firwin, resample_poly

from pipeline.data.ieeg_resampling import ratio, resampled, resampled_length, rounded
from pipeline.errors import DataError

CHANGES = [Fraction(1, 2), Fraction(64, 125), Fraction(2, 3), Fraction(1)]


def reader(signal):
    return lambda start, stop: signal[:, start:stop]


@settings(max_examples=30, deadline=None)
@given(
    change=st.sampled_from(CHANGES),
    samples=st.integers(600, 3000),
    cuts=st.lists(st.integers(1, 1500), max_size=4),
)
def test_blocks_equal_the_whole(change, samples, cuts):
    signal = np.random.default_rng(samples).standard_normal((2, samples)).astype(np.float32)
    length = resampled_length(samples, change)
    read = resampled(reader(signal), samples, change)
    half = 10 * max(change.numerator, change.denominator)
    if change == 1:
        whole = signal
    else:
        taps = firwin(2 * half + 1, 1 / max(change.numerator, change.denominator), window=("kaiser", 5.0))
        whole = resample_poly(signal, change.numerator, change.denominator, axis=1, window=taps.astype(np.float32))
    edges = sorted({0, length, *(cut for cut in cuts if cut < length)})
    blocks = np.concatenate([read(start, stop) for start, stop in pairwise(edges)], axis=1)
    assert blocks.dtype == np.float32
    np.testing.assert_allclose(blocks, whole[:, :length], atol=2e-5)


@pytest.mark.parametrize("change", [Fraction(1, 2), Fraction(64, 125)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_missing_sample_spoils_what_the_filter_reaches_and_no_more(change, order):
    signal = np.random.default_rng(0).standard_normal((3, 2000)).astype(np.float32)
    length = resampled_length(2000, change)
    sound = resampled(reader(signal), 2000, change)(0, length)
    signal[1, 1000] = np.nan
    signal[2, 500] = np.inf
    spoilt = resampled(reader(np.asarray(signal, order=order)), 2000, change)(0, length)
    far = np.abs(np.arange(length) / float(change) - np.array([[np.inf], [1000.0], [500.0]])) > 10 * max(
        1.0, 1 / float(change)
    )
    np.testing.assert_array_equal(np.isfinite(spoilt) | ~far, True)
    np.testing.assert_allclose(spoilt[far], sound[far], atol=1e-5)
    assert not np.isfinite(spoilt[1, round(1000 * float(change))])
    assert not np.isfinite(spoilt[2, round(500 * float(change))])


def test_16_bit_samples_give_what_floats_give():
    signal = np.random.default_rng(1).integers(-3000, 3000, (2, 900), np.int16)
    whole, floats = (resampled(reader(kind), 900, Fraction(1, 2))(7, 400) for kind in (signal, signal.astype("f4")))
    np.testing.assert_array_equal(whole, floats)


def test_rounding_is_off_by_half_a_step_and_cuts_overshoot():
    signal = np.array([[0.4, 0.6, -1.5, 40000.0, -40000.0]], np.float32)
    whole = rounded(reader(signal))(0, 5)
    assert whole.dtype == np.int16
    assert whole.tolist() == [[0, 1, -2, 32767, -32768]]


@pytest.mark.parametrize(("frequency_hz", "gain"), [(10, 1.0), (100, 1.0), (200, 1.0), (300, 0.0), (400, 0.0)])
def test_1024_hz_keeps_what_512_hz_can_hold_and_nothing_aliases(frequency_hz, gain):
    time_s = np.arange(4096) / 1024
    signal = np.sin(2 * np.pi * frequency_hz * time_s)[None].astype(np.float32)
    block = resampled(reader(signal), 4096, ratio(1024.0, 512.0, "x"))(512, 1536)
    assert block.std() * np.sqrt(2) == pytest.approx(gain, abs=0.02)


def test_a_rate_below_the_target_is_an_error():
    with pytest.raises(DataError, match=r"100 Hz, below data\.sample_rate_hz=512.*lower data\.sample_rate_hz"):
        ratio(100.0, 512.0, "x.mat")
    assert ratio(1000.0, 512.0, "x") == Fraction(64, 125)
    assert ratio(173.61, 173.61, "x") == 1
