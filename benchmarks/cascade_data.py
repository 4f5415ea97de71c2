"""Loading and windowing a recording of an hour and 128 channels: `python -m benchmarks.cascade_data --json OUT`.

Per file format: the whole stage (read, label, cut, observe, checksum, write) against a plain read of the file by its
own library, interleaved medians; seconds over the plain read per GB (10^9 bytes) of the file's 16-bit samples. The
hour at 1024 Hz holds twice as many, and is low-passed and resampled too.
Peak memory is that of a fresh process that runs the stage, libraries included, over the recording's 16-bit samples.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from scipy.io import loadmat, savemat

from benchmarks.figures import Figure, parse_json_flag, report
from pipeline.config.cascade import CascadeDataConfig
from pipeline.data.swec import build_patient

CHANNELS, RATE_HZ, FAST_HZ, HOUR_S, MARGIN_S = 128, 512, 1024, 3600, 1700.0
REPEATS = 3
CHILD = """
import sys
from pathlib import Path
from benchmarks.cascade_data import build
build(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])
"""


@dataclass(frozen=True)
class Hour:
    """One recording in its format: the folder and patient that the stage is given, its bytes, and a plain read."""

    raw: Path
    patient: str
    sample_bytes: int
    plain: Callable[[], object]


def write_files(root: Path) -> dict[str, Hour]:
    """A 16-bit hour in each format."""
    signal = noise(RATE_HZ)
    short, parts = root / "short" / "ID1", root / "hdf5" / "ID03"
    for folder in (short, parts):
        folder.mkdir(parents=True)
    savemat(short / "Sz1.mat", {"EEG": signal.T})
    filters = hdf5plugin.Blosc(cname="lz4hc", clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE)
    with h5py.File(parts / "ID03_part_1.h5", "w") as file:
        chunks = (CHANNELS, 180 * RATE_HZ)
        file.create_dataset("data/ieeg", data=signal, chunks=chunks, **filters).attrs["fs"] = float(RATE_HZ)
    with h5py.File(parts / "ID03_total.h5", "w") as file:
        layout = h5py.VirtualLayout(signal.shape, signal.dtype)
        layout[:] = h5py.VirtualSource("ID03_part_1.h5", "data/ieeg", signal.shape)
        file.create_virtual_dataset("data/ieeg", layout)
        file["annotations/onset_s"], file["annotations/offset_s"] = [MARGIN_S], [HOUR_S - MARGIN_S]
    plain_hdf5 = partial(read_hdf5, parts / "ID03_part_1.h5")
    return {
        "short-term .mat": Hour(short.parent, "ID1", signal.nbytes, partial(loadmat, short / "Sz1.mat")),
        "long-term .mat": write_long_term(root / "long", signal, RATE_HZ),
        "long-term .mat, 1024 Hz": write_long_term(root / "fast", noise(FAST_HZ), FAST_HZ),
        "HDF5, LZ4-HC": Hour(parts.parent, "ID03", signal.nbytes, plain_hdf5),
    }


def noise(rate_hz: int) -> np.ndarray:
    """An hour of 16-bit noise, electrodes x samples."""
    return np.random.default_rng(0).integers(-2000, 2000, (CHANNELS, HOUR_S * rate_hz), np.int16)


def write_long_term(folder: Path, signal: np.ndarray, rate_hz: int) -> Hour:
    """An hour and the info file beside it."""
    path = folder / "ID02" / "ID02_1h.mat"
    path.parent.mkdir(parents=True)
    savemat(path, {"EEG": signal})
    times = {"fs": float(rate_hz), "seizure_begin": [MARGIN_S], "seizure_end": [HOUR_S - MARGIN_S]}
    savemat(path.with_name("ID02_info.mat"), times)
    return Hour(folder, "ID02", signal.nbytes, partial(loadmat, path))


def read_hdf5(path: Path) -> np.ndarray:
    """All samples of a part."""
    with h5py.File(path) as file:
        return file["data/ieeg"][:]


def build(raw: Path, patient: str, out: Path) -> None:
    """The stage on one recording, into an empty folder."""
    settings = {"root": str(out), "splits": "shared", "guard_s": 0.0, "short_term_margin_s": MARGIN_S}
    with contextlib.redirect_stdout(io.StringIO()):
        build_patient(raw, patient, CascadeDataConfig(**settings))


def peak_recordings(hour: Hour, out: Path) -> float:
    """Peak memory of a fresh process that runs the stage, in recordings."""
    command = [sys.executable, "-c", CHILD, str(hour.raw), hour.patient, str(out)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Not getrusage: what it says of a child starts from the peak of the parent that it was forked from.
    return int(printed.split()[-1]) * 1024 / hour.sample_bytes


def loading_figures() -> list[Figure]:
    """Peak memory and time over a plain read, per format."""
    figures = []
    # Not the system's folder for temporary files, which may lie in memory.
    Path("results").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="results") as folder:
        root = Path(folder).resolve()
        for name, hour in write_files(root).items():
            shutil.rmtree(root / "out", ignore_errors=True)
            share = peak_recordings(hour, root / "out")
            figures.append(Figure(f"peak memory, {name}", share, "recordings", 1.5, "lower"))
            over = seconds_over_plain(hour, root / "out") / (hour.sample_bytes / 1e9)
            figures.append(Figure(f"loading and windowing over a plain read, {name}", over, "s/GB", 2.0, "lower"))
    return figures


def seconds_over_plain(hour: Hour, out: Path) -> float:
    """Median wall seconds of the stage over those of a plain read, in turn; removing old output is not measured."""
    stage, plain = [], []
    for _ in range(1 + REPEATS):
        shutil.rmtree(out, ignore_errors=True)
        began = time.perf_counter()
        build(hour.raw, hour.patient, out)
        between = time.perf_counter()
        hour.plain()
        stage.append(between - began)
        plain.append(time.perf_counter() - between)
    # The first of each warms the file cache.
    return statistics.median(stage[1:]) - statistics.median(plain[1:])


def main() -> None:
    """Measure and report."""
    arguments = parse_json_flag(__doc__ or "")
    report(loading_figures(), arguments.json)


if __name__ == "__main__":
    main()
