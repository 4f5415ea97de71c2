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
import pandas as pd

from ..artifacts import exclusive, join_parquet, read_parquet, write_parquet
from ..config.cascade import CascadeDataConfig
from ..errors import DataError
from ..progress import with_progress
from .ieeg_labels import WindowLabel
from .ieeg_layout import unrecognised_files, windows_path
from .ieeg_plan import PatientPlan, PlannedRecording, plan_patient, splits_of
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
        channels = _channel_table(plan, cut, config)
        index = _index_table(plan, cut, channels)
        _check_classes(patient, index)
        tables = {
            "annotations": _annotation_table(plan),
            "channels": channels,
            "index": index,
            "recordings": _recording_table(plan, cut, index),
        }
        for name, table in tables.items():
            write_parquet(folder / f"{name}.parquet", table)
    print(_summary(plan, tables), flush=True)


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


def _channel_table(plan: PatientPlan, cut: Sequence[dict[str, Any]], config: CascadeDataConfig) -> pd.DataFrame:
    """One row per electrode: usable or why not, and the figures that standardise it.

    An electrode that is flat or broken in any recording is left out of all: it was not there all the time. Mean and
    scale come from interictal windows of the training recordings alone.
    """
    first = plan.recordings[0].recording
    reasons = [""] * min(first.n_channels, config.max_channels)
    reasons += [f"beyond the {config.max_channels} channels of the models"] * (first.n_channels - len(reasons))
    for planned, row in zip(plan.recordings, cut, strict=True):
        windows = max(1, row["windows"])
        for channel, (flat, broken) in enumerate(zip(row["flat_windows"], row["nan_windows"], strict=True)):
            if flat > 0.5 * windows:
                reasons[channel] = reasons[channel] or f"flat in {planned.recording.name}"
            elif broken > config.max_nan_share * windows:
                reasons[channel] = (
                    reasons[channel] or f"NaN in {broken} of {windows} windows of {planned.recording.name}"
                )
    training = [row for planned, row in zip(plan.recordings, cut, strict=True) if "train" in splits_of(planned.split)]
    samples = max(1, sum(row["samples"] for row in training))
    mean = np.sum([row["total"] for row in training], axis=0) / samples
    scale = np.sqrt(np.maximum(np.sum([row["squares"] for row in training], axis=0) / samples - mean**2, 0.0))
    for constant in np.flatnonzero(scale <= 0).tolist():
        reasons[constant] = reasons[constant] or "constant in all training windows"
    unseen = len(reasons) - len(mean)
    names = first.channel_names or tuple(str(channel) for channel in range(len(reasons)))
    return pd.DataFrame(
        {
            "patient": plan.patient,
            "channel": np.arange(len(reasons), dtype=np.int64),
            "name": list(names),
            "usable": [not reason for reason in reasons],
            "reason": reasons,
            "mean": np.append(mean, np.full(unseen, np.nan)),
            "scale": np.append(scale, np.full(unseen, np.nan)),
        }
    )


def _index_table(plan: PatientPlan, cut: Sequence[dict[str, Any]], channels: pd.DataFrame) -> pd.DataFrame:
    """One row per window that counts and split that reads it."""
    usable = channels["usable"].to_numpy(bool)
    parts = []
    for planned, row in zip(plan.recordings, cut, strict=True):
        starts_s, labels, rows = _without_nan(row, usable)
        chosen = labels >= 0
        for split in splits_of(planned.split):
            parts.append(
                pd.DataFrame(
                    {
                        "patient": plan.patient,
                        "recording": planned.recording.name,
                        "split": split,
                        "row": rows[chosen].astype(np.int64),
                        "start_s": starts_s[chosen],
                        "label": labels[chosen],
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _without_nan(row: dict[str, Any], usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, labels and file rows; windows in which a usable electrode has NaN are labelled so."""
    labels = np.array(row["labels"], np.int64)
    rows = np.where(labels >= 0, np.cumsum(labels >= 0) - 1, -1)
    broken = [file_row for file_row, channel in row["nan"] if usable[channel]]
    labels = np.where(np.isin(rows, broken), WindowLabel.NAN, labels)
    return np.array(row["starts_s"], np.float64), labels, rows


def _recording_table(plan: PatientPlan, cut: Sequence[dict[str, Any]], index: pd.DataFrame) -> pd.DataFrame:
    counts = index.drop_duplicates(["recording", "row"]).groupby("recording")["label"]
    ictal, windows = counts.sum().to_dict(), counts.size().to_dict()
    rows = []
    for planned, row in zip(plan.recordings, cut, strict=True):
        recording = planned.recording
        raw = np.array(row["labels"])
        left_out = {
            "n_guard": int((raw == WindowLabel.GUARD).sum()),
            "n_cluster": int((raw == WindowLabel.CLUSTER).sum()),
            "n_thinned": int((raw == WindowLabel.THINNED).sum()),
            "n_nan": int((raw >= 0).sum()) - windows.get(recording.name, 0),
        }
        rows.append(
            {
                "patient": plan.patient,
                "recording": recording.name,
                "split": planned.split,
                "duration_s": recording.duration_s,
                "sample_rate_hz": recording.rate_hz,
                "n_channels": recording.n_channels,
                "status": "ok",
                "message": "; ".join(recording.notes),
                "sha256": row["sha256"],
                "n_windows": windows.get(recording.name, 0),
                "n_ictal": ictal.get(recording.name, 0),
                **left_out,
            }
        )
    nothing = dict.fromkeys(("n_windows", "n_ictal", "n_guard", "n_cluster", "n_thinned", "n_nan"), 0)
    for bad in plan.bad:
        unknown = {"duration_s": np.nan, "sample_rate_hz": np.nan, "n_channels": 0}
        rows.append(
            {"patient": plan.patient, "recording": bad.name, "split": "", **unknown, "status": "bad"}
            | {"message": bad.message, "sha256": "", **nothing}
        )
    return pd.DataFrame(rows)


def _annotation_table(plan: PatientPlan) -> pd.DataFrame:
    """Every annotated seizure, cut at the ends of recordings; `counts` is False for those of clusters."""
    rows = [
        (plan.patient, planned.recording.name, onset, offset, counts)
        for planned in plan.recordings
        for spans, counts in ((planned.seizures_s, True), (planned.cluster_seizures_s, False))
        for onset, offset in spans
    ]
    types = {"patient": "str", "recording": "str", "onset_s": "float64", "offset_s": "float64", "counts": "bool"}
    return (
        pd.DataFrame(rows, columns=list(types)).astype(types).sort_values(["recording", "onset_s"], ignore_index=True)
    )


def _check_classes(patient: str, index: pd.DataFrame) -> None:
    """Every split needs both classes.

    Raises:
        DataError: one of them has none; the message names it.
    """
    for split in dict.fromkeys(index["split"]):
        labels = index.loc[index["split"] == split, "label"]
        for label, name in ((1, "ictal"), (0, "interictal")):
            if not (labels == label).any():
                raise DataError(
                    f"patient {patient}: no {name} window in split {split}; change data.split_shares, data.guard_s or "
                    "data.ictal_overlap, or name the patient in data.leave_out"
                )


def _summary(plan: PatientPlan, tables: dict[str, pd.DataFrame]) -> str:
    recordings, channels = tables["recordings"], tables["channels"]
    left_out = channels[~channels["usable"]]
    named = [f"{name}: {reason}" for name, reason in zip(left_out["name"], left_out["reason"], strict=True)]
    parts = [
        f"{plan.patient}: {len(plan.recordings)} recordings, {recordings['n_windows'].sum()} windows, "
        f"{recordings['n_ictal'].sum()} ictal; left out: {recordings['n_guard'].sum()} guard, "
        f"{recordings['n_cluster'].sum()} cluster, {recordings['n_nan'].sum()} NaN, "
        f"{recordings['n_thinned'].sum()} thinned windows",
        f"{len(left_out)} of {len(channels)} electrodes" + (f" ({name_some(named, 5)})" if named else ""),
    ]
    if plan.bad:
        parts.append(f"{len(plan.bad)} unusable recordings ({name_some([bad.message for bad in plan.bad], 3)})")
    return "; ".join(parts)
