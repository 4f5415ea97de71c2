"""Loading and windowing a recording of an hour and 128 channels: `python -m benchmarks.cascade_data --json OUT`.

Per file format: the whole stage (read, label, cut, observe, checksum, write) against a plain read of the file by its
own library, interleaved medians; seconds over the plain read per GB (10^9 bytes) of the samples as 32-bit floats.
Peak memory is that of a fresh process that runs the stage, libraries included, over the recording's 16-bit samples.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from scipy.io import loadmat, savemat

from benchmarks.figures import Figure, interleaved_median_s, parse_json_flag, report
from pipeline.config.cascade import CascadeDataConfig
from pipeline.data.swec import build_patient

CHANNELS, RATE_HZ, HOUR_S, MARGIN_S = 128, 512, 3600, 1700.0
SAMPLES = HOUR_S * RATE_HZ
RECORDING_BYTES = CHANNELS * SAMPLES * 2
FLOATS_GB = CHANNELS * SAMPLES * 4 / 1e9
REPEATS = 3
CHILD = """
import sys
from pathlib import Path
from benchmarks.cascade_data import build
build(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])
"""


def write_files(root: Path) -> dict[str, tuple[Path, str, Callable[[], object]]]:
    """The same 16-bit hour in each format: its root, its patient, and a plain read of it."""
    signal = np.random.default_rng(0).integers(-2000, 2000, (CHANNELS, SAMPLES), np.int16)
    short, long, parts = root / "short" / "ID1", root / "long" / "ID02", root / "hdf5" / "ID03"
    for folder in (short, long, parts):
        folder.mkdir(parents=True)
    savemat(short / "Sz1.mat", {"EEG": signal.T})
    savemat(long / "ID02_1h.mat", {"EEG": signal})
    times = {"fs": float(RATE_HZ), "seizure_begin": [MARGIN_S], "seizure_end": [HOUR_S - MARGIN_S]}
    savemat(long / "ID02_info.mat", times)
    filters = hdf5plugin.Blosc(cname="lz4hc", clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE)
    with h5py.File(parts / "ID03_part_1.h5", "w") as file:
        chunks = (CHANNELS, 180 * RATE_HZ)
        file.create_dataset("data/ieeg", data=signal, chunks=chunks, **filters).attrs["fs"] = float(RATE_HZ)
    with h5py.File(parts / "ID03_total.h5", "w") as file:
        layout = h5py.VirtualLayout(signal.shape, signal.dtype)
        layout[:] = h5py.VirtualSource("ID03_part_1.h5", "data/ieeg", signal.shape)
        file.create_virtual_dataset("data/ieeg", layout)
        file["annotations/onset_s"], file["annotations/offset_s"] = [MARGIN_S], [HOUR_S - MARGIN_S]
    return {
        "short-term .mat": (short.parent, "ID1", partial(loadmat, short / "Sz1.mat")),
        "long-term .mat": (long.parent, "ID02", partial(loadmat, long / "ID02_1h.mat")),
        "HDF5, LZ4-HC": (parts.parent, "ID03", partial(read_hdf5, parts / "ID03_part_1.h5")),
    }


def read_hdf5(path: Path) -> np.ndarray:
    """All samples of a part."""
    with h5py.File(path) as file:
        return file["data/ieeg"][:]


def build(raw: Path, patient: str, out: Path) -> None:
    """The stage on one recording, from nothing."""
    shutil.rmtree(out, ignore_errors=True)
    settings = {"root": str(out), "splits": "shared", "guard_s": 0.0, "short_term_margin_s": MARGIN_S}
    with contextlib.redirect_stdout(io.StringIO()):
        build_patient(raw, patient, CascadeDataConfig(**settings))


def peak_recordings(raw: Path, patient: str, out: Path) -> float:
    """Peak memory of a fresh process that runs the stage, in recordings."""
    command = [sys.executable, "-c", CHILD, str(raw), patient, str(out)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Not getrusage: what it says of a child starts from the peak of the parent that it was forked from.
    return int(printed.split()[-1]) * 1024 / RECORDING_BYTES


def main() -> None:
    """Measure and report."""
    arguments = parse_json_flag(__doc__ or "")
    figures = []
    with tempfile.TemporaryDirectory(dir=".") as folder:
        root = Path(folder).resolve()
        for name, (raw, patient, plain) in write_files(root).items():
            share = peak_recordings(raw, patient, root / "out")
            figures.append(Figure(f"peak memory, {name}", share, "recordings", 1.5, "lower"))
            stage = partial(build, raw, patient, root / "out")
            seconds = interleaved_median_s({"stage": stage, "plain": plain}, REPEATS)
            over = (seconds["stage"] - seconds["plain"]) / FLOATS_GB
            figures.append(Figure(f"loading and windowing over a plain read, {name}", over, "s/GB", 2.0, "lower"))
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
