"""The integer forms of the bands and of the window's statistics against the trained model's features."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cascade.window_features import BandEnergies, WindowStatistics
from pipeline.errors import DataError
from pipeline.quantised.exact_features import ExactBands, ExactStatistics
from pipeline.quantised.integer_model import Format

WINDOW = Format(1, 512, -11, 16, -32768, 32767)


def on_grid(seed: int, gain: float) -> torch.Tensor:
    signal = gain * torch.randn(8, 1, 512, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (signal * 2.0**11).round().clamp(-32768, 32767) * 2.0**-11


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.05, 1.0, 15.0]))
def test_the_logarithm_of_the_bands_is_within_a_cell_of_its_table(seed, gain):
    bands = BandEnergies(512, 512.0)
    signal = on_grid(seed, gain)
    exact = ExactBands(bands, WINDOW)(signal)[:, :, 0]
    expected = bands.double()(signal[:, 0])
    # Half a cell of 1/256 is 2**-9 * log2(e); the shift of the Fourier sums adds what the floor of energy hides.
    assert (exact - expected).abs().max() < 0.02


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.05, 1.0, 5.0]))
def test_the_statistics_are_those_about_a_mean_rounded_to_a_step(seed, gain):
    signal = on_grid(seed, gain)
    exact = ExactStatistics(WINDOW)(signal)[:, :, 0]
    expected = WindowStatistics()(signal[:, 0])
    assert (exact[:, 0] - expected[:, 0]).abs().max() <= 2.0**-11 * (1 + expected[:, 1].max())
    assert (exact[:, 1] - expected[:, 1]).abs().max() <= 2.0**-11
    # A sample within half a step of the mean may change its sign.
    assert (exact[:, 2] - expected[:, 2]).abs().max() <= 16 / 512


def test_a_mean_that_needs_a_division_is_refused():
    with pytest.raises(DataError, match="window_samples=500"):
        ExactStatistics(Format(1, 500, -11, 16, -32768, 32767))
