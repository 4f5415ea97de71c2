"""Small recordings in each file format, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from pipeline.config.cascade import CascadeDataConfig

RATE_HZ = 512
MARGIN_S = 6.0
SEIZURE_S = 4.0
DURATION_S = 2 * MARGIN_S + SEIZURE_S


def noise(channels: int = 3, seed: int = 0, duration_s: float = DURATION_S) -> np.ndarray:
    """Whole numbers, electrodes x samples, so that every format holds the same values."""
    rng = np.random.default_rng(seed)
    return rng.integers(-500, 500, (channels, round(duration_s * RATE_HZ))).astype(np.int16)


def data_config(root: Path, **changes: Any) -> CascadeDataConfig:
    """Settings that fit the small recordings."""
    settings = {"root": str(root), "short_term_margin_s": MARGIN_S, "guard_s": 2.0, "cluster_gap_s": 5.0}
    return CascadeDataConfig(**(settings | changes))


def write_short_term(root: Path, signals: list[np.ndarray], patient: str = "ID1", **options: Any) -> Path:
    """`ID1/Sz<n>.mat`, samples x electrodes."""
    for number, signal in enumerate(signals, start=1):
        path = root / patient / f"Sz{number}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"EEG": signal.T}, **options)
    return root


def write_long_term(root: Path, signals: list[np.ndarray], patient: str = "ID01", **info: Any) -> Path:
    """`ID01_<h>h.mat`, electrodes x samples, one hour apart with a seizure after the margin of each."""
    folder = root / patient
    folder.mkdir(parents=True, exist_ok=True)
    begins = [3600.0 * hour + MARGIN_S for hour in range(len(signals))]
    for hour, signal in enumerate(signals, start=1):
        savemat(folder / f"{patient}_{hour}h.mat", {"EEG": signal})
    times = {"fs": 512.0, "seizure_begin": begins, "seizure_end": [begin + SEIZURE_S for begin in begins]}
    given = {name: value for name, value in (times | info).items() if value is not None}
    savemat(folder / f"{patient}_info.mat", given)
    return root


def write_hdf5(root: Path, signals: list[np.ndarray], patient: str = "ID01", seizures: Any = None) -> Path:
    """`ID01_part_<p>.h5` and `ID01_total.h5`, with a seizure after the margin of each part."""
    folder = root / patient
    folder.mkdir(parents=True, exist_ok=True)
    lengths = [signal.shape[1] for signal in signals]
    layout = h5py.VirtualLayout((len(signals[0]), sum(lengths)), signals[0].dtype)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    for number, signal in enumerate(signals, start=1):
        with h5py.File(folder / f"{patient}_part_{number}.h5", "w") as file:
            file.create_dataset("data/ieeg", data=signal, chunks=(len(signal), 2 * RATE_HZ)).attrs["fs"] = 512.0
        name = f"{patient}_part_{number}.h5"
        layout[:, starts[number - 1] : starts[number]] = h5py.VirtualSource(name, "data/ieeg", signal.shape)
    onsets = starts[:-1] / RATE_HZ + MARGIN_S if seizures is None else np.array(seizures, float)[:, 0]
    offsets = onsets + SEIZURE_S if seizures is None else np.array(seizures, float)[:, 1]
    with h5py.File(folder / f"{patient}_total.h5", "w") as file:
        file.create_virtual_dataset("data/ieeg", layout)
        file["annotations/onset_s"] = onsets
        file["annotations/offset_s"] = offsets
    return root
