"""The generated Verilog under Verilator: the netlist's own logits, route bits and cycles."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from ..errors import DataError
from .integer_model import IntegerModel
from .integer_numpy import check_windows

TOP = "simple_path"
DEFINITIONS = "-DLOGIT_BITS={logit_bits} -DSAMPLE_BITS={sample_bits}"
# The design runs for hundreds of millions of cycles; what is around it, hardly.
COMPILER_EFFORT = "OPT_FAST=-O3 OPT_SLOW=-O0 OPT_GLOBAL=-O0"

Simulated = tuple[Int[np.ndarray, "N 2"], Bool[np.ndarray, " N"], int]


def missing_verilator() -> str:
    """Why RTL cannot be simulated here, or an empty string if it can."""
    for program in ("verilator", "make", "g++"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install verilator make g++)"
    return ""


def simulate(folder: Path | str, model: IntegerModel, windows: np.ndarray) -> Simulated | None:
    """Stream quantised windows through the RTL of `write_rtl`, built once with Verilator.

    Args:
        folder: of `write_rtl`.
        model: what the RTL was made of; its formats only are used.
        windows: int16 [N, C, T] from `quantise_windows`.

    Returns:
        Logits int64 [N, 2], route bits [N] and the most cycles that a window took; None where Verilator is not
        installed (`missing_verilator` says what to install).

    Raises:
        DataError: windows of another shape or type, or a folder whose RTL does not build or run.
    """
    check_windows(model.input.window, windows)
    if missing_verilator():
        return None
    with tempfile.TemporaryDirectory() as work:
        program = _build(Path(folder).resolve(), Path(work))
        source, sink = Path(work) / "windows", Path(work) / "results"
        header = np.array(windows.shape, np.int32)
        source.write_bytes(header.tobytes() + np.ascontiguousarray(windows.transpose(0, 2, 1)).tobytes())
        # Memory images are read from the folder that the design runs in.
        _run([str(program), str(source), str(sink)], Path(folder))
        results = np.fromfile(sink, np.int64).reshape(-1, 4)
    return results[:, :2], results[:, 2].astype(bool), int(results[:, 3].max(initial=0))


def _build(folder: Path, work: Path) -> Path:
    sources = sorted(path for path in folder.glob("*.v") if path.name != "tb.v")
    if not (folder / f"{TOP}.v").is_file():
        raise DataError(f"{folder}: holds no {TOP}.v; write the RTL first")
    main = work / "simulate.cpp"
    main.write_text((files(__package__) / "rtl" / "simulate.cpp").read_text())
    flags = DEFINITIONS.format(
        logit_bits=_parameter(folder, "LOGIT_BITS"), sample_bits=_parameter(folder, "SAMPLE_BITS")
    )
    command = ["verilator", "--cc", "--exe", "--build", "-O3", "--x-assign", "fast", "--x-initial", "fast"]
    command += [
        "-Wno-fatal",
        "-Wno-WIDTH",
        "-CFLAGS",
        flags,
        "-MAKEFLAGS",
        COMPILER_EFFORT,
        "-I" + str(folder),
        "--top-module",
        TOP,
    ]
    command += ["--Mdir", str(work / "build"), *map(str, sources), str(main)]
    _run(command, folder)
    return work / "build" / f"V{TOP}"


def _parameter(folder: Path, name: str) -> int:
    found = re.search(rf"\b{name} = (\d+)", (folder / "parameters.vh").read_text())
    if found is None:
        raise DataError(f"{folder / 'parameters.vh'}: does not state {name}; write the RTL again")
    return int(found[1])


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise DataError(f"{folder}: {Path(command[0]).name} failed with status {done.returncode}: {said}")
