"""Which files of a folder are recordings of which patient, told by name alone: nothing is opened here.

- SWEC-ETHZ short-term: `ID<k>/Sz<n>.mat`
- SWEC-ETHZ long-term: `ID<kk>_<h>h.mat` (hour h, 1-based) beside `ID<kk>_info.mat`
- SWEC iEEG (2025): `ID<kk>_part_<p>.h5` beside `ID<kk>_total.h5`
- a table of records or one record: `<patient>.npz`
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError

SHORT_TERM, LONG_TERM, HDF5, TABLE = "short_term", "long_term", "hdf5", "table"
DEMO_FORMATS = (SHORT_TERM, LONG_TERM, HDF5)
COMPANIONS = re.compile(r"ID\d+_(info\.mat|total\.h5)", re.IGNORECASE)
PATTERNS = {
    SHORT_TERM: re.compile(r"(?P<patient>ID\d+)/(?P<name>Sz(?P<number>\d+))\.mat", re.IGNORECASE),
    LONG_TERM: re.compile(r"[^/]+/(?P<patient>ID\d+)_(?P<name>(?P<number>\d+)h)\.mat", re.IGNORECASE),
    HDF5: re.compile(r"[^/]+/(?P<patient>ID\d+)_(?P<name>part_(?P<number>\d+))\.h5", re.IGNORECASE),
    TABLE: re.compile(r"[^/]+/(?P<patient>[^/]+)(?P<name>)(?P<number>)\.npz", re.IGNORECASE),
}


@dataclass(frozen=True)
class RecordingFile:
    """One file: its patient, format, and number in time (seizure, hour or part)."""

    path: Path
    patient: str
    file_format: str
    number: int
    name: str


def find_recording_files(root: Path | str) -> dict[str, list[RecordingFile]]:
    """The recording files under `root` (a folder, or one table file) by patient, in order of time.

    Raises:
        DataError: the folder is missing, holds no recording, or has files of one patient in two formats.
    """
    root = Path(root)
    if not root.exists():
        raise DataError(f"raw recordings: {root}: no such file or folder (resolved: {root.resolve()})")
    paths = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    found: dict[str, list[RecordingFile]] = {}
    for path in paths:
        file = _recognise(path)
        if file is not None:
            found.setdefault(file.patient, []).append(file)
    if not found:
        raise DataError(
            f"{root}: holds no recording; expected ID1/Sz1.mat (short-term), ID01_1h.mat beside ID01_info.mat "
            "(long-term), ID01_part_1.h5 beside ID01_total.h5 (HDF5), or a table *.npz"
        )
    for patient, files in found.items():
        _check_one_source(patient, files)
    return {patient: sorted(found[patient], key=lambda file: file.number) for patient in sorted(found, key=by_number)}


def patients_of(root: Path | str, leave_out: Sequence[str] = ()) -> list[str]:
    """The patients whose recordings lie under `root`, in order of their numbers, without those left out.

    Raises:
        DataError: no recordings, or a name in `leave_out` that is no patient here.
    """
    known = list(find_recording_files(root))
    unknown = [name for name in leave_out if name not in known]
    if unknown:
        raise DataError(f"data.leave_out: {unknown[0]} is no patient of {root} (known: {', '.join(known)})")
    return [name for name in known if name not in leave_out]


def unrecognised_files(root: Path | str) -> list[Path]:
    """Files under a folder that are neither recordings nor their companions."""
    root = Path(root)
    paths = [] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    return [
        path
        for path in paths
        if _recognise(path) is None and not COMPANIONS.fullmatch(path.name) and not path.name.startswith(".")
    ]


def windows_path(root: Path | str, patient: str, recording: str) -> Path:
    """Where the windows of a recording lie in a data folder: [N, C, T], float32 or 16-bit integers."""
    return Path(root) / "windows" / patient / f"{recording}.npy"


def demo_patient_names(patients: int) -> list[str]:
    """The names of generated patients; short-term files write their number without a zero, as the real ones do."""
    return [
        f"ID{number + 1}" if demo_format(number) == SHORT_TERM else f"ID{number + 1:02d}" for number in range(patients)
    ]


def demo_format(number: int) -> str:
    """The file format of a generated patient: they take turns."""
    return DEMO_FORMATS[number % len(DEMO_FORMATS)]


def _recognise(path: Path) -> RecordingFile | None:
    where = f"{path.resolve().parent.name}/{path.name}"
    for file_format, pattern in PATTERNS.items():
        match = pattern.fullmatch(where)
        if match:
            number = int(match["number"] or 0)
            return RecordingFile(path, match["patient"], file_format, number, match["name"])
    return None


def _check_one_source(patient: str, files: Sequence[RecordingFile]) -> None:
    formats = sorted({file.file_format for file in files})
    if len(formats) > 1:
        raise DataError(f"patient {patient}: files of two formats ({', '.join(formats)}); keep one data set per folder")
    seen: dict[int, Path] = {}
    for file in files:
        if file.number in seen:
            raise DataError(f"patient {patient}: {file.path} and {seen[file.number]} are the same recording; keep one")
        seen[file.number] = file.path


def by_number(patient: str) -> tuple[int, str]:
    """A key that sorts patients by the number in their names."""
    digits = re.sub(r"\D", "", patient)
    return (int(digits) if digits else 0, patient)
