"""What one patient's recordings will become: which are usable, which seizures count, which split each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.cascade import SPLITS, CascadeDataConfig
from ..errors import DataError
from . import ieeg_layout as layout
from .ieeg_labels import cluster_spans, followers
from .ieeg_layout import RecordingFile
from .ieeg_recording import BadRecording, Recording, Span
from .ieeg_splits import split_by_group, split_in_time
from .ieeg_tables import open_table
from .swec_hdf5 import open_hdf5
from .swec_mat import open_long_term, open_short_term

SHARED = "shared"


@dataclass(frozen=True)
class PlannedRecording:
    """A usable recording, its split, the seizures that count in it and the times that clusters take."""

    recording: Recording
    split: str
    seizures_s: list[Span]
    cluster_seizures_s: list[Span]
    clusters_s: list[Span]


@dataclass(frozen=True)
class PatientPlan:
    """One patient: usable recordings in order of time, and files that cannot be used."""

    patient: str
    recordings: list[PlannedRecording]
    bad: list[BadRecording]


def plan_patient(root: Path | str, patient: str, config: CascadeDataConfig) -> PatientPlan:
    """Open a patient's recordings (headers only) and decide what becomes of each.

    Raises:
        DataError: no such patient, too many unusable files, annotations that contradict the recordings, or too few
            seizures for the splits.
    """
    found = layout.find_recording_files(root)
    if patient not in found:
        raise DataError(f"{root}: no recordings of patient {patient} (known: {', '.join(found)})")
    opened = _same_montage(_open(found[patient], config))
    usable = [item for item in opened if isinstance(item, Recording)]
    bad = [item for item in opened if isinstance(item, BadRecording)]
    if bad and (not usable or len(bad) > config.max_bad_share * len(opened)):
        raise DataError(
            f"patient {patient}: {len(bad)} of {len(opened)} recordings cannot be used (data.max_bad_share="
            f"{config.max_bad_share:g}), first: {bad[0].message}"
        )
    return PatientPlan(patient, _planned(usable, config), bad)


def _open(files: Sequence[RecordingFile], config: CascadeDataConfig) -> list[Recording | BadRecording]:
    match files[0].file_format:
        case layout.SHORT_TERM:
            return open_short_term(files, config.short_term_margin_s)
        case layout.LONG_TERM:
            return open_long_term(files)
        case layout.HDF5:
            return open_hdf5(files)
        case _:
            return list(open_table(files[0]))


def _same_montage(opened: Sequence[Recording | BadRecording]) -> list[Recording | BadRecording]:
    """Recordings with another number of electrodes than most of the patient's are bad: which is which is unknown."""
    counts = [item.n_channels for item in opened if isinstance(item, Recording)]
    if len(set(counts)) <= 1:
        return list(opened)
    usual = max(sorted(set(counts)), key=counts.count)
    return [
        BadRecording(
            item.patient,
            item.name,
            item.path,
            f"{item.path}: has {item.n_channels} electrodes, the patient's other recordings have {usual}; electrodes "
            "cannot be told apart",
        )
        if isinstance(item, Recording) and item.n_channels != usual
        else item
        for item in opened
    ]


def _planned(recordings: Sequence[Recording], config: CascadeDataConfig) -> list[PlannedRecording]:
    counted, in_clusters, clusters = _clusters(recordings, config)
    has_seizure = [bool(spans) for spans in counted]
    if config.splits == "shared":
        splits = [SHARED] * len(recordings)
        _check_both_classes(recordings, has_seizure)
    elif recordings[0].group is not None:
        splits = split_by_group(recordings, config.split_shares)
    else:
        splits = split_in_time(recordings, has_seizure, config.split_shares)
    return [
        PlannedRecording(*fields) for fields in zip(recordings, splits, counted, in_clusters, clusters, strict=True)
    ]


def _clusters(
    recordings: Sequence[Recording], config: CascadeDataConfig
) -> tuple[list[list[Span]], list[list[Span]], list[list[Span]]]:
    """Per recording: seizures that count, seizures of clusters, and the times of clusters.

    Recordings without a place on the patient's clock (short-term files, tables) have no clusters that can be told.
    """
    if any(recording.begins_s is None for recording in recordings):
        nothing: list[list[Span]] = [[] for _ in recordings]
        return [list(recording.seizures_s) for recording in recordings], nothing, nothing
    clock = _merged(
        [
            (recording.begins_s + onset, recording.begins_s + offset)
            for recording in recordings
            if recording.begins_s is not None
            for onset, offset in recording.seizures_s
        ]
    )
    marks = followers(clock, config.cluster_gap_s)
    left_out = cluster_spans(clock, config.cluster_gap_s, config.guard_s)
    following = [span for span, follows in zip(clock, marks, strict=True) if follows]
    counted, in_clusters, clusters = [], [], []
    for recording in recordings:
        begins_s = recording.begins_s or 0.0
        is_follower = [
            any(onset <= begins_s + own[0] < offset for onset, offset in following) for own in recording.seizures_s
        ]
        pairs = list(zip(recording.seizures_s, is_follower, strict=True))
        counted.append([span for span, follows in pairs if not follows])
        in_clusters.append([span for span, follows in pairs if follows])
        clusters.append([(onset - begins_s, offset - begins_s) for onset, offset in left_out])
    return counted, in_clusters, clusters


def _merged(spans_s: Sequence[Span]) -> list[Span]:
    """Spans that touch, cut by the end of a file, are one seizure."""
    merged: list[Span] = []
    for onset, offset in sorted(spans_s):
        if merged and onset <= merged[-1][1] + 1e-6:
            merged[-1] = (merged[-1][0], max(offset, merged[-1][1]))
        else:
            merged.append((onset, offset))
    return merged


def _check_both_classes(recordings: Sequence[Recording], has_seizure: Sequence[bool]) -> None:
    if not any(has_seizure):
        raise DataError(f"patient {recordings[0].patient}: no seizure in any recording")


def splits_of(split: str) -> tuple[str, ...]:
    """The splits whose index lists a recording."""
    return SPLITS if split == SHARED else (split,)
