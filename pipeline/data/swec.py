"""Recordings -> windows: one patient at a time, resumable by recording, in memory of one block.

Output under the data folder: `windows/<patient>/<recording>.npy` and, per patient and then joined for all,
`recordings.parquet annotations.parquet channels.parquet index.parquet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import exclusive, join_parquet, read_parquet, write_parquet
from ..config.cascade import CascadeDataConfig
from ..errors import DataError
from ..progress import with_progress
from .ieeg_layout import unrecognised_files, windows_path
from .ieeg_outcome import annotation_table, channel_table, check_classes, index_table, recording_table, summary
from .ieeg_plan import PlannedRecording, plan_patient
from .ieeg_writer import cut_recording
from .receipts import is_same_file, read_receipt, source_of, write_receipt
from .recipe import code_and_libraries
from .shards import name_some

TABLES = ("recordings", "annotations", "channels", "index")
NOT_SPLIT = ("raw_root", "root", "max_bad_share", "max_nan_share", "leave_out", "split_shares", "splits")


def part_folder(root: Path, patient: str) -> Path:
    """Where the tables of one patient lie until they are joined."""
    return root / "patients" / patient


def build_patient(raw_root: Path, patient: str, config: CascadeDataConfig) -> None:
    """Cut all recordings of a patient into windows and write the patient's four tables.

    Args:
        raw_root: folder of recordings, or one table file.
        patient: one of `patients_of(raw_root)`.
        config: the data section; `config.root` is the output folder.

    Raises:
        DataError: recordings that cannot be used or split; the message says which and why.
    """
    root, folder = Path(config.root), part_folder(Path(config.root), patient)
    plan = plan_patient(raw_root, patient, config)
    settings = _settings(config)
    sources: dict[Path, dict[str, Any]] = {}
    with exclusive(folder / "lock"):
        cut = [
            _cut_once(planned, config, settings, folder, sources)
            for planned in with_progress(
                plan.recordings, f"{root.name} {patient}", "recording", folder / "progress.json"
            )
        ]
        channels = channel_table(plan, cut, config)
        index = index_table(plan, cut, channels)
        check_classes(patient, index)
        tables = {
            "annotations": annotation_table(plan),
            "channels": channels,
            "index": index,
            "recordings": recording_table(plan, cut, index),
        }
        for name, table in tables.items():
            write_parquet(folder / f"{name}.parquet", table)
    print(summary(plan, tables), flush=True)


def join_patients(raw_root: Path, root: Path, patients: Sequence[str]) -> None:
    """Join the tables of all patients in `root`, and warn of files that nobody read.

    Raises:
        DataError: a patient's tables are missing.
    """
    for name in TABLES:
        parts = [part_folder(root, patient) / f"{name}.parquet" for patient in patients]
        missing = [path for path in parts if not path.is_file()]
        if missing:
            raise DataError(f"{missing[0]}: no such table; build the windows of patient {missing[0].parent.name} first")
        join_parquet(root / f"{name}.parquet", parts)
    others = unrecognised_files(raw_root)
    if others:
        print(
            f"warning: {len(others)} files are no recordings: {name_some([path.name for path in others])}", flush=True
        )
    index = read_parquet(root / "index.parquet", ("label",))
    print(f"{len(patients)} patients: {len(index)} windows, {int((index['label'] == 1).sum())} ictal", flush=True)


def _settings(config: CascadeDataConfig) -> dict[str, Any]:
    made_with = code_and_libraries("pipeline.data.swec", "numpy", "scipy", "h5py")
    return {**config.model_dump(mode="json", exclude=set(NOT_SPLIT)), **made_with}


def _cut_once(
    planned: PlannedRecording,
    config: CascadeDataConfig,
    settings: dict[str, Any],
    folder: Path,
    sources: dict[Path, dict[str, Any]],
) -> dict[str, Any]:
    """The row of one recording, from its receipt if nothing changed; else its windows are cut.

    `sources` remembers files by path: a table holds hundreds of records.
    """
    recording = planned.recording
    receipt_path = folder / "rows" / f"{recording.name}.json"
    target = windows_path(config.root, recording.patient, recording.name)
    made_from = {
        **settings,
        "split": planned.split,
        "seizures_s": [list(span) for span in planned.seizures_s],
        "clusters_s": [list(span) for span in planned.clusters_s],
    }
    receipt = read_receipt(receipt_path)
    current = receipt is not None and receipt["settings"] == made_from and target.is_file()
    if receipt is not None and current and is_same_file(receipt["source"], recording.path):
        return receipt["row"]
    with ThreadPoolExecutor(1) as beside:
        # Hashing leaves the interpreter free, so it costs no time beside the cutting.
        hashing = beside.submit(lambda: sources.get(recording.path) or source_of(recording.path))
        cut = cut_recording(planned, config, target)
        sources[recording.path] = source = hashing.result()
    row = {
        "sha256": source["sha256"],
        "starts_s": cut.starts_s.tolist(),
        "labels": cut.labels.tolist(),
        "nan": np.argwhere(cut.nan_channels).tolist(),
        "samples": cut.sums.samples,
        "windows": cut.sums.windows,
        **{name: getattr(cut.sums, name).tolist() for name in ("total", "squares", "nan_windows", "flat_windows")},
    }
    write_receipt(receipt_path, source, made_from, row)
    return row
