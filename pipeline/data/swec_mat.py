"""SWEC-ETHZ recordings in MATLAB files; the kind of file, not the longer axis, tells which axis is time.

- Short-term, `ID<k>/Sz<n>.mat`: `EEG` is samples x electrodes at 512 Hz and nothing else; the seizure lies between
  two margins of three minutes.
- Long-term, `ID<kk>_<h>h.mat`: `EEG` is electrodes x samples; `ID<kk>_info.mat` holds `fs`, `seizure_begin` and
  `seizure_end` in seconds from the start of hour 1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from .ieeg_layout import RecordingFile
from .ieeg_recording import BadRecording, ReadSamples, Recording, Span
from .mat_file import open_mat_array, read_mat_values

SHORT_TERM_RATE_HZ = 512.0
HOUR_S = 3600.0


def open_short_term(files: Sequence[RecordingFile], margin_s: float) -> list[Recording | BadRecording]:
    """The recordings of one short-term patient; `margin_s` are the seconds before and after each seizure."""
    return [_readable(file, lambda file: _short_term(file, margin_s)) for file in files]


def open_long_term(files: Sequence[RecordingFile]) -> list[Recording | BadRecording]:
    """The recordings of one long-term patient.

    Raises:
        DataError: the info file is missing or damaged, or an annotation contradicts the recordings.
    """
    first = files[0]
    info = _info_path(first)
    rate_hz = float(read_mat_values(info, "fs")[0]) if len(read_mat_values(info, "fs")) else 0.0
    if rate_hz <= 0:
        raise DataError(f"{info}: fs={rate_hz:g}; expected samples per second, 512 or 1024")
    seizures_s = _annotated(info)
    opened = [_readable(file, lambda file: _long_term(file, rate_hz, seizures_s)) for file in files]
    _check_annotations(info, seizures_s, opened)
    return opened


def _readable(file: RecordingFile, open_recording: Callable[[RecordingFile], Recording]) -> Recording | BadRecording:
    try:
        return open_recording(file)
    except DataError as error:
        return BadRecording(file.patient, file.name, file.path, str(error))


def _short_term(file: RecordingFile, margin_s: float) -> Recording:
    samples, electrodes = _shape(file.path)
    if electrodes >= samples:
        raise DataError(
            f"{file.path}: EEG is {samples} x {electrodes}; a short-term file is samples x electrodes: transpose it, "
            "or name it as the long-term hour it is"
        )
    duration_s = samples / SHORT_TERM_RATE_HZ
    if duration_s <= 2 * margin_s:
        raise DataError(
            f"{file.path}: lasts {duration_s:g} s, no longer than two margins of data.short_term_margin_s={margin_s:g}"
        )

    @contextlib.contextmanager
    def open_signal() -> Iterator[ReadSamples]:
        with open_mat_array(file.path, "EEG") as array:
            yield lambda start, stop: np.asarray(array[start:stop, :]).T

    return Recording(
        patient=file.patient,
        name=file.name,
        path=file.path,
        n_channels=electrodes,
        n_samples=samples,
        rate_hz=SHORT_TERM_RATE_HZ,
        open_signal=open_signal,
        seizures_s=[(margin_s, duration_s - margin_s)],
    )


def _long_term(file: RecordingFile, rate_hz: float, seizures_s: Sequence[Span]) -> Recording:
    electrodes, samples = _shape(file.path)
    if electrodes >= samples:
        raise DataError(
            f"{file.path}: EEG is {electrodes} x {samples}; a long-term file is electrodes x samples: transpose it"
        )
    begins_s = (file.number - 1) * HOUR_S
    duration_s = samples / rate_hz

    @contextlib.contextmanager
    def open_signal() -> Iterator[ReadSamples]:
        with open_mat_array(file.path, "EEG") as array:
            yield lambda start, stop: np.asarray(array[:, start:stop])

    return Recording(
        patient=file.patient,
        name=file.name,
        path=file.path,
        n_channels=electrodes,
        n_samples=samples,
        rate_hz=rate_hz,
        open_signal=open_signal,
        seizures_s=cut_to(seizures_s, begins_s, duration_s),
        begins_s=begins_s,
        continues=any(onset < begins_s + duration_s < offset for onset, offset in seizures_s),
    )


def cut_to(seizures_s: Sequence[Span], begins_s: float, duration_s: float) -> list[Span]:
    """The parts of seizures (patient's clock) that lie in a recording, in seconds from its start."""
    parts = [(max(onset - begins_s, 0.0), min(offset - begins_s, duration_s)) for onset, offset in seizures_s]
    return [(onset, offset) for onset, offset in parts if onset < offset]


def checked_seizures(source: Path, onsets_s: np.ndarray, offsets_s: np.ndarray) -> list[Span]:
    """Onsets and offsets as spans in order of time.

    Raises:
        DataError: unequal counts, a missing time, or one that ends before it begins.
    """
    if len(onsets_s) != len(offsets_s):
        raise DataError(f"{source}: {len(onsets_s)} seizure begins but {len(offsets_s)} ends; they must pair")
    spans = sorted(zip(onsets_s.tolist(), offsets_s.tolist(), strict=True))
    for onset, offset in spans:
        if not 0 <= onset < offset < np.inf:
            raise DataError(f"{source}: a seizure from {onset:g} s to {offset:g} s; expected 0 <= begin < end")
    return spans


def _shape(path: Path) -> tuple[int, int]:
    with open_mat_array(path, "EEG") as array:
        rows, columns = array.shape
    if not rows or not columns:
        raise DataError(f"{path}: EEG is {rows} x {columns}: empty")
    return int(rows), int(columns)


def _info_path(file: RecordingFile) -> Path:
    path = file.path.with_name(f"{file.patient}_info.mat")
    if not path.is_file():
        raise DataError(f"{path}: no such file; long-term recordings need it for rate and seizure times")
    return path


def _annotated(info: Path) -> list[Span]:
    return checked_seizures(info, read_mat_values(info, "seizure_begin"), read_mat_values(info, "seizure_end"))


def _check_annotations(info: Path, seizures_s: Sequence[Span], opened: Sequence[Recording | BadRecording]) -> None:
    """A seizure may lie in an hour without a file, but not past the end of an hour that has one."""
    for recording in opened:
        if isinstance(recording, BadRecording) or recording.begins_s is None:
            continue
        ends_s = recording.begins_s + recording.duration_s
        for onset, offset in seizures_s:
            if ends_s <= onset < recording.begins_s + HOUR_S:
                raise DataError(
                    f"{info}: the seizure from {onset:g} s to {offset:g} s lies outside the recording: "
                    f"{recording.path.name} ends at {ends_s:g} s; fetch the whole file or mend the annotation"
                )
