"""One recording cut into windows: whatever the tiles and blocks, the file holds what slicing the whole would give."""

from __future__ import annotations

from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import ieeg_samples as samples
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import ieeg_writer
from pipeline.data.ieeg_labels import WindowLabel
from pipeline.data.ieeg_plan import PlannedRecording
from pipeline.data.ieeg_recording import Recording
from pipeline.data.ieeg_resampling import resampled, resampled_length
from pipeline.data.ieeg_writer import cut_recording
from pipeline.errors import DataError

SEIZURE_S = (4.0, 7.0)


def planned(signal: np.ndarray, rate_hz: float, split: str = "test") -> PlannedRecording:
    """A recording in memory with one seizure."""

    def read(start: int, stop: int) -> np.ndarray:
        return signal[:, start:stop]

    recording = Recording("P1", "r1", Path("r1.mat"), *signal.shape, rate_hz, lambda: nullcontext(read))
    return PlannedRecording(recording, split, [SEIZURE_S], [], [])


def whole(signal: np.ndarray, rate_hz: float) -> np.ndarray:
    """All of the signal at 512 Hz, in the kind of number that the file shall hold."""
    change = Fraction(512, round(rate_hz))
    length = resampled_length(signal.shape[1], change)
    at_once = resampled(lambda start, stop: signal[:, start:stop], signal.shape[1], change)(0, length)
    if signal.dtype != np.int16:
        return at_once.astype(np.float32)
    return np.clip(np.rint(at_once), -32768, 32767).astype(np.int16)


@settings(max_examples=25, deadline=None)
@given(
    rate_hz=st.sampled_from([512.0, 1000.0, 1024.0]),
    dtype=st.sampled_from([np.int16, np.float32, np.float64]),
    electrodes=st.integers(1, 5),
    max_channels=st.integers(1, 5),
    stride_s=st.sampled_from([0.25, 0.3, 1.0, 1.7]),
    tile=st.integers(1, 9),
    block_s=st.sampled_from([0.4, 1.5, 60.0]),
    share=st.sampled_from([1.0, 0.4]),
    split=st.sampled_from(["train", "test"]),
)
def test_the_file_holds_the_slices_of_the_whole(
    rate_hz, dtype, electrodes, max_channels, stride_s, tile, block_s, share, split
):
    scale = 30000 if dtype == np.int16 else 100
    signal = (np.random.default_rng(0).uniform(-scale, scale, (electrodes, round(12.3 * rate_hz)))).astype(dtype)
    expected = whole(signal, rate_hz)[:max_channels]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ieeg_writer, "TILE", tile)
        patch.setattr(ieeg_writer, "BLOCK_S", block_s)
        config = samples.data_config(
            Path(folder), guard_s=1.0, stride_s=stride_s, interictal_share=share, max_channels=max_channels
        )
        cut = cut_recording(planned(signal, rate_hz, split), config, Path(folder) / "r1.npy")
        stored = np.load(Path(folder) / "r1.npy")
    starts = np.rint(cut.starts_s * 512).astype(int)
    assert (np.diff(starts) == round(stride_s * 512)).all()
    assert expected.shape[1] - 512 - round(stride_s * 512) < starts[-1] <= expected.shape[1] - 512
    kept = starts[cut.labels >= 0]
    assert stored.dtype == expected.dtype
    assert stored.shape == (len(kept), len(expected), 512)
    slices = np.stack([expected[:, start : start + 512] for start in kept])
    # Blocks add up in another order, so a float may differ in its last bits and an integer where it lies on a half.
    np.testing.assert_allclose(stored, slices, atol=1 if dtype == np.int16 and rate_hz != 512 else 1e-3)
    assert (stored == slices).mean() > 0.99 or stored.dtype != np.int16
    assert cut.sums.windows == len(kept)
    assert cut.sums.samples == 512 * int((cut.labels == WindowLabel.INTERICTAL).sum())
    thinned = (cut.labels == WindowLabel.THINNED).sum()
    assert bool(thinned) == (split == "train" and share < 1)


def test_sums_count_sound_interictal_windows_only():
    signal = samples.noise(3, duration_s=12.0).astype(np.float32)
    signal[1] = 7.0
    signal[2, 600] = np.nan
    with TemporaryDirectory() as folder:
        config = samples.data_config(Path(folder), guard_s=0.0)
        cut = cut_recording(planned(signal, 512.0), config, Path(folder) / "r1.npy")
        stored = np.load(Path(folder) / "r1.npy").astype(np.float64)
    interictal = stored[cut.labels[cut.labels >= 0] == WindowLabel.INTERICTAL]
    assert cut.nan_channels.nonzero() == (np.array([1]), np.array([2]))
    assert cut.sums.nan_windows.tolist() == [0, 0, 1]
    assert cut.sums.flat_windows.tolist() == [0, len(stored), 0]
    sound = np.where(np.isfinite(interictal).all(-1, keepdims=True), interictal, 0.0)
    np.testing.assert_allclose(cut.sums.total, sound.sum((0, 2)), rtol=1e-4, atol=1.0)
    np.testing.assert_allclose(cut.sums.squares, (sound**2).sum((0, 2)), rtol=1e-5)


def test_a_filter_that_overshoots_the_integers_is_cut_not_wrapped():
    signal = np.full((1, 12 * 1024), 32767, np.int16)
    signal[:, 6 * 1024 :] = -32768
    with TemporaryDirectory() as folder:
        target = Path(folder) / "r1.npy"
        cut_recording(planned(signal, 1024.0), samples.data_config(Path(folder), guard_s=0.0), target)
        stored = np.load(target).astype(int)
    # Wrapped, an overshoot would come out at the other end of the integers.
    assert (stored[:5] > 0).all()
    assert (stored[7:] < 0).all()
    assert stored.min() == -32768
    assert stored.max() == 32767


def test_a_recording_shorter_than_a_window_is_refused_and_leaves_no_file(tmp_path):
    signal = samples.noise(2, duration_s=0.9)
    with pytest.raises(DataError, match=r"r1\.mat: 461 samples at 512 Hz, shorter than one window of 512.*lower"):
        cut_recording(planned(signal, 512.0), samples.data_config(tmp_path), tmp_path / "r1.npy")
    assert not list(tmp_path.iterdir())
