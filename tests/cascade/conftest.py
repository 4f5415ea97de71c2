"""A small data folder of windows in the contract's format: one focal electrode, two faint ones, two that mislead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import write_npy, write_parquet

CHANNELS = 10
FOCUS = 6
SPLIT_OF = ("train",) * 6 + ("val",) * 2 + ("calibration",) * 3 + ("test",) * 3
WINDOWS = 48


def write_windows(root: Path, patients: tuple[str, ...] = ("P1", "P2"), seed: int = 0) -> Path:
    """Write a data folder: each recording has a third of its windows ictal, in its middle."""
    index, channels, recordings, annotations = [], [], [], []
    for number, patient in enumerate(patients):
        focus = (FOCUS + 3 * number) % CHANNELS
        for position, split in enumerate(SPLIT_OF):
            generator = np.random.default_rng((seed, number, position))
            name = f"R{position:02d}"
            labels = np.zeros(WINDOWS, dtype=np.int64)
            labels[WINDOWS // 3 : 2 * WINDOWS // 3] = 1
            write_npy(root / "windows" / patient / f"{name}.npy", _signals(generator, labels, focus))
            index += [(patient, name, split, row, float(row), int(label)) for row, label in enumerate(labels)]
            recordings.append(
                (patient, name, split, float(WINDOWS), 512.0, CHANNELS, "ok", "", f"{patient}{name}{seed}")
            )
            annotations.append((patient, name, WINDOWS / 3, 2 * WINDOWS / 3))
        channels += [(patient, k, k != 1, "" if k != 1 else "flat", 0.0, 1.0) for k in range(CHANNELS)]
    write_parquet(
        root / "index.parquet",
        pd.DataFrame(index, columns=["patient", "recording", "split", "row", "start_s", "label"]),
    )
    write_parquet(
        root / "channels.parquet",
        pd.DataFrame(channels, columns=["patient", "channel", "usable", "reason", "mean", "scale"]),
    )
    columns = ["patient", "recording", "split", "duration_s", "sample_rate_hz", "n_channels", "status", "message"]
    write_parquet(root / "recordings.parquet", pd.DataFrame(recordings, columns=[*columns, "sha256"]))
    write_parquet(
        root / "annotations.parquet",
        pd.DataFrame(annotations, columns=["patient", "recording", "onset_s", "offset_s"]),
    )
    return root


def _signals(generator: np.random.Generator, labels: np.ndarray, focus: int) -> np.ndarray:
    signals = generator.standard_normal((len(labels), CHANNELS, 512)).astype(np.float32)
    signals = 0.8 * signals + 0.6 * np.roll(signals, 1, axis=2)
    signals[:, 1] = 0.0
    time = np.arange(512) / 512
    loud = generator.random(len(labels)) < 0.3
    for row, label in enumerate(labels):
        phase = generator.uniform(0, 2 * np.pi)
        rhythm = np.sin(2 * np.pi * generator.uniform(6, 12) * time + phase).astype(np.float32)
        if label:
            strength = generator.uniform(0.6, 1.6)
            signals[row, focus] += strength * rhythm
            signals[row, (focus + 1) % CHANNELS] += 0.35 * strength * rhythm
        # Large and rhythmic, but as often without a seizure as with one.
        if loud[row]:
            signals[row, (focus + 4) % CHANNELS] += 3.0 * rhythm
    return signals


@pytest.fixture(scope="session")
def windows_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder, made once."""
    return write_windows(tmp_path_factory.mktemp("swec"))
