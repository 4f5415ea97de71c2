"""Cutting one recording into windows, block by block, into one NPY file; what was seen of each electrode on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from ..artifacts import atomic_path
from ..config.cascade import CascadeDataConfig
from ..errors import DataError
from .ieeg_labels import WindowLabel, label_windows, thin_interictal
from .ieeg_plan import PlannedRecording
from .ieeg_recording import ReadSamples, one_ahead, read_in_blocks
from .ieeg_resampling import ratio, resampled, resampled_length, rounded

# A block of 128 channels takes 8 or 16 MB: beyond 32 MB the allocator returns memory to the system and asks for it anew
# each time, which takes longer than reading.
BLOCK_S = 60.0
# Windows made at a time: few enough that every further look at them is a look into the cache.
TILE = 8


@dataclass
class ElectrodeSums:
    """Sums over interictal windows per electrode, and counts over all windows read, for the channel table."""

    samples: int
    total: Float[np.ndarray, " C"]
    squares: Float[np.ndarray, " C"]
    nan_windows: Int[np.ndarray, " C"]
    flat_windows: Int[np.ndarray, " C"]
    windows: int

    @classmethod
    def empty(cls, channels: int) -> ElectrodeSums:
        """Nothing seen yet."""
        sums, counts = np.zeros((2, channels)), np.zeros((2, channels), np.int64)
        return cls(0, sums[0], sums[1], counts[0], counts[1], 0)


@dataclass(frozen=True)
class CutRecording:
    """The windows of a recording: where they start, their labels, and which stored ones have NaN where.

    The file holds the windows whose label is not negative, in order.
    """

    starts_s: Float[np.ndarray, " N"]
    labels: Int[np.ndarray, " N"]
    nan_channels: Bool[np.ndarray, "R C"]
    sums: ElectrodeSums


def cut_recording(planned: PlannedRecording, config: CascadeDataConfig, target: Path) -> CutRecording:
    """Write the windows of one recording that are ictal or interictal: [rows, C, window_samples], own unit.

    16-bit recordings stay 16-bit, rounded after resampling, which halves the file; all others become float32. Windows
    with NaN are written too; whether they count depends on which electrodes are usable.

    Args:
        planned: the recording, its seizures and clusters.
        config: window length, stride, labels, rate.
        target: the NPY file.

    Raises:
        DataError: the recording is shorter than a window, its rate does not fit, or it cannot be read.
    """
    recording = planned.recording
    rate_hz = config.sample_rate_hz
    change = ratio(recording.rate_hz, rate_hz, str(recording.path))
    length = resampled_length(recording.n_samples, change)
    window, stride = config.window_samples, max(1, round(config.stride_s * rate_hz))
    starts = np.arange(0, length - window + 1, stride)
    if not len(starts):
        raise DataError(
            f"{recording.path}: {length} samples at {rate_hz:g} Hz, shorter than one window of {window}; "
            "lower data.window_samples or leave it out"
        )
    labels = label_windows(
        starts / rate_hz,
        window / rate_hz,
        planned.seizures_s,
        ictal_overlap=config.ictal_overlap,
        guard_s=config.guard_s,
        left_out_s=planned.clusters_s,
    )
    if planned.split in ("train", "val"):
        labels = thin_interictal(labels, config.interictal_share)
    kept = labels >= 0
    rows = np.where(kept, np.cumsum(kept) - 1, -1)
    channels = min(recording.n_channels, config.max_channels)
    sums = ElectrodeSums.empty(channels)
    nan_channels = np.zeros((int(kept.sum()), channels), bool)
    with atomic_path(target) as temporary, temporary.open("wb") as file, recording.open_signal() as read:
        integers = read(0, 1).dtype == np.int16
        dtype = np.dtype("<i2" if integers else "<f4")
        _write_header(file, (int(kept.sum()), channels, window), dtype)
        block = round(BLOCK_S * recording.rate_hz)
        read_some = read_in_blocks(lambda start, stop: read(start, stop)[:channels], recording.n_samples, block)
        read_new = resampled(read_some, recording.n_samples, change)
        if integers and change != 1:
            read_new = rounded(read_new)
        tiles = [np.flatnonzero(kept[begin : begin + TILE]) + begin for begin in range(0, len(starts), TILE)]
        tiles = [tile for tile in tiles if len(tile)]
        made = (_windows(read_new, starts[tile], window, channels, dtype) for tile in tiles)
        for tile, windows in zip(tiles, one_ahead(made), strict=True):
            nan_channels[rows[tile]] = _observe(sums, windows, labels[tile] == WindowLabel.INTERICTAL)
            file.write(windows.data)
    return CutRecording(starts / rate_hz, labels, nan_channels, sums)


def _write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})


def _windows(
    read: ReadSamples, starts: Int[np.ndarray, " N"], window: int, channels: int, dtype: np.dtype
) -> Real[np.ndarray, "N C T"]:
    """The windows that start at `starts` (ascending), from one read of the stretch they cover."""
    first = int(starts[0])
    stretch = read(first, int(starts[-1]) + window)
    windows = np.empty((len(starts), channels, window), dtype)
    for row, start in enumerate((starts - first).tolist()):
        windows[row] = stretch[:, start : start + window]
    return windows


def _observe(
    sums: ElectrodeSums, windows: Real[np.ndarray, "N C T"], interictal: Bool[np.ndarray, " N"]
) -> Bool[np.ndarray, "N C"]:
    """Add the windows to the sums; return where NaN (or infinity) stands."""
    values = windows.astype(np.float32, copy=False)
    total = values.sum(-1)
    squares = np.einsum("nct,nct->nc", values, values)
    broken = ~np.isfinite(squares)
    flat = (windows[..., 1:] == windows[..., :1]).all(-1) if _may_be_flat(windows) else np.zeros_like(broken)
    counted = interictal[:, None] & ~broken
    sums.samples += int(interictal.sum()) * windows.shape[2]
    sums.total += np.where(counted, total, 0.0).sum(0, dtype=np.float64)
    sums.squares += np.where(counted, squares, 0.0).sum(0, dtype=np.float64)
    sums.nan_windows += broken.sum(0)
    sums.flat_windows += flat.sum(0)
    sums.windows += len(windows)
    return broken


def _may_be_flat(windows: Real[np.ndarray, "N C T"]) -> bool:
    """Whether any electrode repeats its first sample in a window: a cheap look before the whole comparison."""
    return bool((windows[..., 1:9] == windows[..., :1]).all(-1).any())
