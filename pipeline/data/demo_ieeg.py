"""Demo recordings: SWEC-format files of generated patients, and a truth table of their electrodes.

Formats take turns over the patients (short-term, long-term at 1024 Hz, HDF5). The long-term patient has a cluster of
seizures, an hour without one and a dead electrode; the others have what the real sets have: one seizure per file.
`truth.parquet` says what each electrode is, so that channel selection can be scored; no model ever reads it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..artifacts import exclusive, join_parquet, write_parquet
from ..config.cascade import RecordingsDemoConfig
from ..errors import ConfigError
from ..progress import with_progress
from . import demo_ieeg_files as files
from .demo_ieeg_signal import RATE_HZ, DemoPatient, DemoRecording, demo_patients, demo_recording
from .ieeg_layout import HDF5, LONG_TERM, SHORT_TERM
from .ieeg_recording import Span

CLUSTER_SEIZURES = 3
HOURS_APART = 3


def write_demo_patient(out: Path, config: RecordingsDemoConfig, name: str) -> None:
    """Write one patient's files under `out/recordings` and its rows of the truth table.

    The same settings give the same signals whatever else is written, in whatever order.

    Raises:
        ConfigError: the demo has no such patient.
    """
    patients = {patient.name: patient for patient in demo_patients(config)}
    if name not in patients:
        raise ConfigError(f"patient {name}: the demo has {', '.join(patients)} (demo.patients={config.patients})")
    patient = patients[name]
    write = {SHORT_TERM: _write_short_term, LONG_TERM: _write_long_term, HDF5: _write_hdf5}[patient.file_format]
    with exclusive(out / "truth" / f"{name}.lock"):
        write(out / "recordings", patient, config)
        write_parquet(truth_path(out, name), truth_of(patient))


def truth_path(out: Path, name: str) -> Path:
    """The truth rows of one patient."""
    return out / "truth" / f"{name}.parquet"


def join_truth(out: Path, names: list[str]) -> None:
    """Join all patients' rows to `out/truth.parquet`."""
    join_parquet(out / "truth.parquet", [truth_path(out, name) for name in names])


def truth_of(patient: DemoPatient) -> pd.DataFrame:
    """One row per electrode: its role; `informative` is True for focus and spread, `best` for the focus."""
    roles = np.array(patient.roles)
    return pd.DataFrame(
        {
            "patient": patient.name,
            "channel": np.arange(len(roles)),
            "role": roles,
            "informative": np.isin(roles, ("focus", "spread")),
            "best": roles == "focus",
        }
    )


def _recordings(patient: DemoPatient, config: RecordingsDemoConfig) -> list[int]:
    return list(with_progress(range(config.recordings), f"demo recordings {patient.name}", "recording"))


def _write_short_term(out: Path, patient: DemoPatient, config: RecordingsDemoConfig) -> None:
    for index in _recordings(patient, config):
        recording = demo_recording(patient, index, config)
        files.write_short_term(files.short_term_path(out, patient.name, index + 1), recording)


def _write_long_term(out: Path, patient: DemoPatient, config: RecordingsDemoConfig) -> None:
    seizures_s: list[Span] = []
    for index in [*_recordings(patient, config), config.recordings, config.recordings + 1]:
        extra = index - config.recordings
        count = {0: CLUSTER_SEIZURES, 1: 0}.get(extra, 1)
        recording = _with_dead_electrode(demo_recording(patient, index, config, seizures=count), patient)
        hour = 1 + HOURS_APART * index
        begins_s = files.hour_begins_s(hour)
        seizures_s += [(begins_s + onset, begins_s + offset) for onset, offset in recording.seizures_s]
        files.write_long_term(files.long_term_path(out, patient.name, hour), recording, patient.rate_hz)
    files.write_long_term_info(out, patient.name, patient.rate_hz, seizures_s)


def _with_dead_electrode(recording: DemoRecording, patient: DemoPatient) -> DemoRecording:
    signal_uv = recording.signal_uv.copy()
    signal_uv[patient.channels_of("background")[-1]] = 0.0
    return replace(recording, signal_uv=signal_uv)


def _write_hdf5(out: Path, patient: DemoPatient, config: RecordingsDemoConfig) -> None:
    lengths: list[int] = []
    seizures_s: list[Span] = []
    for index in _recordings(patient, config):
        recording = demo_recording(patient, index, config)
        begins_s = sum(lengths) / RATE_HZ
        seizures_s += [(begins_s + onset, begins_s + offset) for onset, offset in recording.seizures_s]
        lengths.append(recording.signal_uv.shape[1])
        files.write_part(files.part_path(out, patient.name, index + 1), recording)
    files.write_total(out, patient.name, lengths, len(patient.roles), seizures_s)
