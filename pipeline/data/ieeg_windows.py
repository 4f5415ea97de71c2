"""The reader of intracranial EEG windows: one patient, one split, every channel count padded under a mask.

Data folder: `windows/<patient>/<recording>.npy` [N, C, 512], float32 or 16-bit, in the recording's own unit, with
`index.parquet` (patient recording split row start_s label) and `channels.parquet` (patient channel usable reason
mean scale). Signals are standardised per channel with figures of the training recordings' interictal windows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor
from torch.utils.data import Dataset

from ..artifacts import read_npy, read_parquet
from ..errors import DataError
from .ieeg_layout import windows_path

INDEX_COLUMNS = ("patient", "recording", "split", "row", "start_s", "label")
CHANNEL_COLUMNS = ("patient", "channel", "usable", "reason", "mean", "scale")
MODEL_CHANNELS = 128


class IeegWindow(TypedDict):
    """One window: label 0 interictal, 1 ictal; `start_s` is seconds from the start of the recording."""

    signal: Float[Tensor, "128 T"]
    channel_mask: Bool[Tensor, " 128"]
    label: int
    recording: str
    start_s: float


def windowed_patients(root: Path | str) -> list[str]:
    """The patients of a data folder.

    Raises:
        DataError: there is no data folder, or its index is damaged.
    """
    return sorted(map(str, read_parquet(Path(root) / "index.parquet", ("patient",))["patient"].unique()))


class IeegWindows(Dataset[IeegWindow]):
    """The windows of one patient and split, standardised per channel, padded to 128 channels.

    Args:
        root: data folder, with `index.parquet`.
        patient: a patient of the index.
        split: train, val, calibration or test.

    Raises:
        DataError: the folder is incomplete, or has no windows of that patient and split.
    """

    def __init__(self, root: Path | str, patient: str, split: str) -> None:
        self.root, self.patient = Path(root), patient
        whole = read_parquet(self.root / "index.parquet", INDEX_COLUMNS)
        chosen = whole[(whole["patient"] == patient) & (whole["split"] == split)]
        if chosen.empty:
            known = ", ".join(sorted(whole["patient"].unique()))
            raise DataError(
                f"{self.root}/index.parquet: no windows of patient {patient}, split {split} (patients: {known})"
            )
        self.index: pd.DataFrame = chosen.reset_index(drop=True)
        channels = read_parquet(self.root / "channels.parquet", CHANNEL_COLUMNS)
        # Electrodes beyond what the models see have no figures, and no place in the stored windows.
        channels = channels[(channels["patient"] == patient) & channels["mean"].notna()]
        usable = channels["usable"].to_numpy(bool)
        self.n_channels = len(channels)
        self.channel_mask: Bool[np.ndarray, " 128"] = np.pad(usable, (0, MODEL_CHANNELS - len(usable)))
        self._unusable = ~usable
        self._maps: dict[str, np.ndarray] = {}
        self._mean = channels["mean"].to_numpy(np.float32)[:, None]
        self._gain = (1.0 / channels["scale"].where(usable, 1.0).to_numpy(np.float64)).astype(np.float32)[:, None]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, position: int) -> IeegWindow:
        row = self.index.iloc[position]
        stored = self._stored(str(row["recording"]))
        signal = np.zeros((MODEL_CHANNELS, stored.shape[2]), np.float32)
        signal[: self.n_channels] = self._standardised(stored[row["row"]])
        return {
            "signal": torch.from_numpy(signal),
            "channel_mask": torch.from_numpy(self.channel_mask),
            "label": int(row["label"]),
            "recording": str(row["recording"]),
            "start_s": float(row["start_s"]),
        }

    @property
    def labels(self) -> Int[np.ndarray, " N"]:
        """0 interictal, 1 ictal."""
        return self.index["label"].to_numpy(np.int64, copy=True)

    def live_arrays(self) -> tuple[Float[np.ndarray, "N C T"], Int[np.ndarray, " N"]]:
        """All windows at the patient's own channel count (unusable ones are zero), and the labels."""
        return self.read(np.arange(len(self))), self.labels

    def read(self, positions: Int[np.ndarray, " B"]) -> Float[np.ndarray, "B C T"]:
        """Some windows, by their row in `index`, at the patient's own channel count."""
        chosen = self.index.iloc[positions]
        recordings, rows = chosen["recording"].to_numpy(), chosen["row"].to_numpy()
        signals: Float[np.ndarray, "B C T"] | None = None
        for recording in dict.fromkeys(recordings):
            inside = np.flatnonzero(recordings == recording)
            stored = self._stored(str(recording))
            if signals is None:
                signals = np.empty((len(positions), *stored.shape[1:]), np.float32)
            signals[inside] = self._standardised(stored[rows[inside]])
        if signals is None:
            raise ValueError("no positions to read")
        return signals

    def _stored(self, recording: str) -> Real[np.ndarray, "N C T"]:
        """The recording's windows, mapped once: a shuffled batch touches many recordings."""
        if recording not in self._maps:
            path = windows_path(self.root, self.patient, recording)
            self._maps[recording] = read_npy(path, memory_map=True)
        return self._maps[recording]

    def arrays(self) -> tuple[Float[np.ndarray, "N 128 T"], Int[np.ndarray, " N"]]:
        """All windows padded to 128 channels, and the labels. Rows are in the order of `index`."""
        signals, labels = self.live_arrays()
        padded = np.zeros((len(signals), MODEL_CHANNELS, signals.shape[2]), np.float32)
        padded[:, : self.n_channels] = signals
        return padded, labels

    def _standardised(self, windows: Real[np.ndarray, "*N C T"]) -> Float[np.ndarray, "*N C T"]:
        """Mean 0 and variance 1 on the training recordings' interictal windows; unusable electrodes are zero."""
        standardised = (windows - self._mean) * self._gain
        standardised[..., self._unusable, :] = 0.0
        return standardised
