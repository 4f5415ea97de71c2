"""SWEC iEEG (2025) in HDF5: parts `ID<kk>_part_<p>.h5` with `data/ieeg` (electrodes x samples), and one
`ID<kk>_total.h5` that joins them as a virtual data set and holds the annotations.

Names of the rate and of the annotations are recognised by pattern, because no file of the data set was at hand:
a rate is an attribute or scalar called `fs`, `sampling_rate` and the like; annotations are onsets and offsets (or
durations) in seconds from the start of part 1, as two data sets of a group, two fields, or two columns.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .ieeg_layout import RecordingFile
from .ieeg_recording import BadRecording, ReadSamples, Recording, Span, read_in_blocks
from .swec_mat import checked_seizures, cut_to

SIGNAL = "data/ieeg"
RATE_NAMES = re.compile(r"(fs|sfreq|sample_?rate|sampling_?(rate|frequency))(_hz)?", re.IGNORECASE)
ANNOTATION_NAMES = re.compile(r".*(annot|seizure|event).*", re.IGNORECASE)
ONSET_NAMES = re.compile(r".*(onset|begin|start).*", re.IGNORECASE)
OFFSET_NAMES = re.compile(r".*(offset|end|stop).*", re.IGNORECASE)
DURATION_NAMES = re.compile(r".*(duration|length).*", re.IGNORECASE)


def open_hdf5(files: Sequence[RecordingFile]) -> list[Recording | BadRecording]:
    """The recordings (parts) of one patient.

    Raises:
        DataError: the total file is missing or damaged, or an annotation lies outside all parts.
    """
    total = files[0].path.with_name(f"{files[0].patient}_total.h5")
    if not total.is_file():
        raise DataError(f"{total}: no such file; it holds the annotations of the parts")
    with open_h5(total) as file:
        seizures_s = _annotations(total, file)
        places = _places(file)
        total_samples = file[SIGNAL].shape[1] if SIGNAL in file else None
        total_rate_hz = _rate(file)
    opened: list[Recording | BadRecording] = []
    begins = 0
    for part in files:
        try:
            begins = places.get(part.path.name, begins)
            recording = _part(part, begins, seizures_s, total_rate_hz)
            begins += recording.n_samples
            opened.append(recording)
        except DataError as error:
            opened.append(BadRecording(part.patient, part.name, part.path, str(error)))
            if not places:
                opened += [
                    BadRecording(later.patient, later.name, later.path, f"its place in time is lost with {part.name}")
                    for later in files[files.index(part) + 1 :]
                ]
                break
    rates_hz = [recording.rate_hz for recording in opened if isinstance(recording, Recording)]
    if total_samples and rates_hz:
        _check_inside(total, seizures_s, total_samples / rates_hz[0])
    return opened


@contextlib.contextmanager
def open_h5(path: Path) -> Iterator[Any]:
    """An HDF5 file, with the LZ4 filters of the data set registered.

    Raises:
        DataError: it is no HDF5 file or is cut short.
    """
    import h5py
    import hdf5plugin  # noqa: F401  (registers the compression filters)

    try:
        # Chunks of the data set do not fit this cache, so that they are unpacked straight into the array asked for.
        file = h5py.File(path, "r", rdcc_nbytes=1 << 20)
    except OSError as error:
        raise DataError(f"{path}: not a readable HDF5 file, perhaps cut short ({error}); fetch it again") from error
    with file:
        yield file


def _part(part: RecordingFile, begins: int, seizures_s: Sequence[Span], total_rate_hz: float | None) -> Recording:
    with open_h5(part.path) as file:
        if SIGNAL not in file:
            raise DataError(f"{part.path}: lacks '{SIGNAL}'; it has {', '.join(_names(file)) or 'nothing'}")
        signal = file[SIGNAL]
        if signal.ndim != 2 or signal.dtype.kind not in "iuf":
            raise DataError(f"{part.path}: '{SIGNAL}' is {signal.dtype} of shape {signal.shape}; expected 2-D numbers")
        electrodes, samples = signal.shape
        rate_hz = _rate(file) or total_rate_hz
    if electrodes >= samples:
        raise DataError(f"{part.path}: '{SIGNAL}' is {electrodes} x {samples}; expected electrodes x samples")
    if rate_hz is None:
        raise DataError(f"{part.path}: no sampling rate found, neither here nor in the total file; add an attribute fs")
    begins_s = begins / rate_hz

    @contextlib.contextmanager
    def open_signal() -> Iterator[ReadSamples]:
        with open_h5(part.path) as file:
            signal = file[SIGNAL]

            def read(start: int, stop: int) -> np.ndarray:
                try:
                    return np.asarray(signal[:, start:stop])
                except OSError as error:
                    raise DataError(
                        f"{part.path}: samples {start}-{stop} cannot be read ({error}); fetch it"
                    ) from error

            # Whole chunks, so that none is unpacked twice.
            chunk = signal.chunks[1] if signal.chunks else 0
            yield read_in_blocks(read, samples, chunk) if chunk >= rate_hz else read

    return Recording(
        patient=part.patient,
        name=part.name,
        path=part.path,
        n_channels=electrodes,
        n_samples=samples,
        rate_hz=rate_hz,
        open_signal=open_signal,
        seizures_s=cut_to(seizures_s, begins_s, samples / rate_hz),
        begins_s=begins_s,
        continues=any(onset < begins_s + samples / rate_hz < offset for onset, offset in seizures_s),
    )


def _places(file: Any) -> dict[str, int]:
    """First sample of each part in the total file, by file name; empty if it is not a virtual data set."""
    if SIGNAL not in file or not file[SIGNAL].is_virtual:
        return {}
    sources = file[SIGNAL].virtual_sources()
    return {Path(source.file_name).name: int(source.vspace.get_select_bounds()[0][1]) for source in sources}


def _rate(file: Any) -> float | None:
    for place in (SIGNAL, "data", "/"):
        if place not in file:
            continue
        values = [value for name, value in file[place].attrs.items() if RATE_NAMES.fullmatch(name)]
        if hasattr(file[place], "items"):
            values += [node[()] for name, node in file[place].items() if RATE_NAMES.fullmatch(name)]
        if values and float(np.ravel(values[0])[0]) > 0:
            return float(np.ravel(values[0])[0])
    return None


def _annotations(total: Path, file: Any) -> list[Span]:
    for name in _names(file):
        if ANNOTATION_NAMES.fullmatch(name) and not name.startswith(SIGNAL):
            times = _onsets_and_offsets(file[name])
            if times is not None:
                return checked_seizures(total, *times)
    raise DataError(
        f"{total}: no seizure annotations found among {', '.join(_names(file)) or 'nothing'}; expected a group or "
        "table with 'annotation' or 'seizure' in its name that holds onsets and offsets in seconds"
    )


def _onsets_and_offsets(node: Any) -> tuple[np.ndarray, np.ndarray] | None:
    columns: dict[str, Any]
    if hasattr(node, "items"):
        columns = {name: child[()] for name, child in node.items() if hasattr(child, "dtype")}
    elif node.dtype.names:
        columns = {name: node[name] for name in node.dtype.names}
    elif node.ndim == 2 and node.shape[1] == 2:
        columns = {"onset": node[:, 0], "offset": node[:, 1]}
    else:
        return None
    onset, offset, duration = (_first(columns, names) for names in (ONSET_NAMES, OFFSET_NAMES, DURATION_NAMES))
    if onset is None or (offset is None and duration is None):
        return None
    return onset, onset + duration if offset is None else offset


def _first(columns: dict[str, Any], names: re.Pattern[str]) -> np.ndarray | None:
    for name, values in columns.items():
        if names.fullmatch(name) and np.asarray(values).dtype.kind in "iuf":
            return np.asarray(values, np.float64).ravel()
    return None


def _names(file: Any) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def _check_inside(total: Path, seizures_s: Sequence[Span], duration_s: float) -> None:
    for onset, offset in seizures_s:
        if onset >= duration_s or offset > duration_s + 1.0:
            raise DataError(
                f"{total}: the seizure from {onset:g} s to {offset:g} s lies outside the recording of {duration_s:g} s "
                "long; fetch the whole file or mend the annotation"
            )
