"""Writing generated recordings in the file formats of the SWEC-ETHZ data sets; samples are 16-bit, as theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int16

from ..artifacts import atomic_path
from .demo_ieeg_signal import RATE_HZ, DemoRecording
from .ieeg_recording import Span
from .swec_mat import HOUR_S

CHUNK_S = 180


def short_term_path(root: Path, patient: str, number: int) -> Path:
    """`ID1/Sz1.mat`."""
    return root / patient / f"Sz{number}.mat"


def long_term_path(root: Path, patient: str, hour: int) -> Path:
    """`ID02/ID02_1h.mat`."""
    return root / patient / f"{patient}_{hour}h.mat"


def part_path(root: Path, patient: str, number: int) -> Path:
    """`ID03/ID03_part_1.h5`."""
    return root / patient / f"{patient}_part_{number}.h5"


def write_short_term(path: Path, recording: DemoRecording) -> None:
    """`EEG`, samples x electrodes, and nothing else."""
    _write_mat(path, {"EEG": _integers(recording.signal_uv).T})


def write_long_term(path: Path, recording: DemoRecording, rate_hz: int) -> None:
    """`EEG`, electrodes x samples, at `rate_hz`: a multiple of the rate that signals are generated at."""
    from scipy.signal import resample_poly

    signal = recording.signal_uv
    if rate_hz != RATE_HZ:
        signal = resample_poly(signal, rate_hz // RATE_HZ, 1, axis=1)
    _write_mat(path, {"EEG": _integers(signal)})


def write_long_term_info(root: Path, patient: str, rate_hz: int, seizures_s: Sequence[Span]) -> None:
    """`fs`, and seizure times in seconds from the start of hour 1."""
    times = np.array(seizures_s, np.float64).reshape(-1, 2)
    values = {"fs": float(rate_hz), "seizure_begin": times[:, :1], "seizure_end": times[:, 1:]}
    _write_mat(root / patient / f"{patient}_info.mat", values)


def hour_begins_s(hour: int) -> float:
    """Where an hour's file begins on the patient's clock."""
    return (hour - 1) * HOUR_S


def write_part(path: Path, recording: DemoRecording) -> None:
    """`data/ieeg`, electrodes x samples, chunks of 180 s, LZ4-HC."""
    import h5py
    import hdf5plugin

    samples = _integers(recording.signal_uv)
    chunks = (samples.shape[0], min(samples.shape[1], CHUNK_S * RATE_HZ))
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        filters = hdf5plugin.Blosc(cname="lz4hc", clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE)
        signal = file.create_dataset("data/ieeg", data=samples, chunks=chunks, track_times=False, **filters)
        signal.attrs["fs"] = float(RATE_HZ)


def write_total(root: Path, patient: str, lengths: Sequence[int], channels: int, seizures_s: Sequence[Span]) -> None:
    """The parts joined as one virtual data set, and onsets and offsets in seconds from the start of part 1."""
    import h5py

    layout = h5py.VirtualLayout((channels, sum(lengths)), np.int16)
    begin = 0
    for number, length in enumerate(lengths, start=1):
        source = h5py.VirtualSource(part_path(root, patient, number).name, "data/ieeg", (channels, length))
        layout[:, begin : begin + length] = source
        begin += length
    times = np.array(seizures_s, np.float64).reshape(-1, 2)
    with atomic_path(root / patient / f"{patient}_total.h5") as temporary, h5py.File(temporary, "w") as file:
        file.create_virtual_dataset("data/ieeg", layout).attrs["fs"] = float(RATE_HZ)
        file.create_dataset("annotations/onset_s", data=times[:, 0], track_times=False)
        file.create_dataset("annotations/offset_s", data=times[:, 1], track_times=False)


def _integers(signal_uv: Float[np.ndarray, "C N"]) -> Int16[np.ndarray, "C N"]:
    return np.clip(np.rint(signal_uv), -32768, 32767).astype(np.int16)


def _write_mat(path: Path, content: dict[str, object]) -> None:
    from scipy.io import savemat

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        savemat(file, content)
