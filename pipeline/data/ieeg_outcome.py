"""What became of one patient's recordings, as tables: electrodes, windows, recordings, annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..config.cascade import CascadeDataConfig
from ..errors import DataError
from .ieeg_labels import WindowLabel
from .ieeg_plan import PatientPlan, splits_of
from .shards import name_some

Row = dict[str, Any]


def channel_table(plan: PatientPlan, cut: Sequence[Row], config: CascadeDataConfig) -> pd.DataFrame:
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


def index_table(plan: PatientPlan, cut: Sequence[Row], channels: pd.DataFrame) -> pd.DataFrame:
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


def _without_nan(row: Row, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, labels and file rows; windows in which a usable electrode has NaN are labelled so."""
    labels = np.array(row["labels"], np.int64)
    rows = np.where(labels >= 0, np.cumsum(labels >= 0) - 1, -1)
    broken = [file_row for file_row, channel in row["nan"] if usable[channel]]
    labels = np.where(np.isin(rows, broken), WindowLabel.NAN, labels)
    return np.array(row["starts_s"], np.float64), labels, rows


def recording_table(plan: PatientPlan, cut: Sequence[Row], index: pd.DataFrame) -> pd.DataFrame:
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


def annotation_table(plan: PatientPlan) -> pd.DataFrame:
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


def check_classes(patient: str, index: pd.DataFrame) -> None:
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


def summary(plan: PatientPlan, tables: dict[str, pd.DataFrame]) -> str:
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
