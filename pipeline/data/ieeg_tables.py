"""Recordings in NPZ tables: many independent records of one electrode, or one record of many electrodes.

- A table: `x` (records, samples), `y` (1 = ictal throughout), `fs`; optional `set` and `record` name the records.
- One record: `x` (electrodes, samples), `t` in seconds about seizure onset (ictal from t = 0), `fs`; optional
  `channel` names the electrodes.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..errors import DataError
from .ieeg_layout import RecordingFile
from .ieeg_recording import OpenSignal, ReadSamples, Recording


def open_table(file: RecordingFile) -> list[Recording]:
    """The recordings of a table file.

    Raises:
        DataError: the file is damaged or lacks a field, or the fields do not fit together.
    """
    fields = _fields(file.path)
    rate_hz = float(np.ravel(fields["fs"])[0])
    if not rate_hz > 0:
        raise DataError(f"{file.path}: fs={rate_hz:g}; expected samples per second")
    if fields["x"].ndim != 2 or fields["x"].dtype.kind not in "iuf":
        raise DataError(f"{file.path}: x is {fields['x'].dtype} of shape {fields['x'].shape}; expected 2-D numbers")
    return _records(file, fields, rate_hz) if "y" in fields else [_one_record(file, fields, rate_hz)]


def _fields(path: Path) -> Mapping[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            fields = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: not a readable NPZ table ({error}); fetch it again") from error
    missing = [name for name in ("x", "fs") if name not in fields]
    if missing or not ({"y", "t"} & fields.keys()):
        raise DataError(
            f"{path}: has {', '.join(fields)}; a table needs x, fs and y (one label per record), a record x, fs and t"
        )
    return fields


def _records(file: RecordingFile, fields: Mapping[str, np.ndarray], rate_hz: float) -> list[Recording]:
    signals, labels = fields["x"], fields["y"]
    if labels.shape != signals.shape[:1] or not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"{file.path}: y of shape {labels.shape} does not give 0 or 1 for each of {len(signals)} records"
        )
    groups = [str(name) for name in fields.get("set", labels)]
    names = [Path(str(name)).stem for name in fields.get("record", np.arange(len(signals)))]
    if len(set(names)) < len(names):
        names = [f"{group}_{name}" for group, name in zip(groups, names, strict=True)]
    if len(set(names)) < len(names) or len(names) != len(signals) or len(groups) != len(signals):
        raise DataError(f"{file.path}: 'set' and 'record' do not name each of {len(signals)} records once")
    duration_s = signals.shape[1] / rate_hz
    return [
        Recording(
            patient=file.patient,
            name=name,
            path=file.path,
            n_channels=1,
            n_samples=signals.shape[1],
            rate_hz=rate_hz,
            open_signal=_in_memory(signals[row : row + 1]),
            seizures_s=[(0.0, duration_s)] if labels[row] else [],
            group=group,
        )
        for row, (name, group) in enumerate(zip(names, groups, strict=True))
    ]


def _one_record(file: RecordingFile, fields: Mapping[str, np.ndarray], rate_hz: float) -> Recording:
    signal, time_s = fields["x"], fields["t"]
    if time_s.shape != signal.shape[1:]:
        raise DataError(f"{file.path}: t of shape {time_s.shape} does not fit x {signal.shape} (electrodes x samples)")
    duration_s = signal.shape[1] / rate_hz
    onset_s = -float(time_s[0])
    if not 0 <= onset_s < duration_s:
        raise DataError(f"{file.path}: t runs from {time_s[0]:g} to {time_s[-1]:g} s; the onset t = 0 lies outside")
    return Recording(
        patient=file.patient,
        name="record",
        path=file.path,
        n_channels=len(signal),
        n_samples=signal.shape[1],
        rate_hz=rate_hz,
        open_signal=_in_memory(signal),
        seizures_s=[(onset_s, duration_s)],
        channel_names=tuple(str(name) for name in fields.get("channel", ())),
    )


def _in_memory(signal: np.ndarray) -> OpenSignal:
    @contextlib.contextmanager
    def open_signal() -> Iterator[ReadSamples]:
        yield lambda start, stop: signal[:, start:stop]

    return open_signal
