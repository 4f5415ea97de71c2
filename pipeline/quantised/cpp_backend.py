"""The generated C++ compiled and called: what a program on a workstation would do with it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from .export_cpp import SOURCE
from .integer_model import IntegerModel
from .integer_numpy import IntegerOutput, check_windows

COMPILER = "g++"
FLAGS = ("-std=c++17", "-march=native", "-Wall", "-Wextra", "-shared", "-fPIC")
LIBRARY = "libcascade.so"


@dataclass(frozen=True)
class CppCascade:
    """A compiled cascade: callable on quantised windows, as `run_integer_model` is."""

    model: IntegerModel
    library: ctypes.CDLL

    def __call__(self, windows: np.ndarray) -> IntegerOutput:
        """Logits of both networks and the route bit of int16 windows [N, C, T].

        Raises:
            DataError: windows of another shape or type, or out of the input's range.
        """
        check_windows(self.model.input.window, windows)
        windows = np.ascontiguousarray(windows)
        simple, complex_ = (np.zeros((len(windows), 2), np.int64) for _ in range(2))
        routed = np.zeros(len(windows), np.uint8)
        arrays = (simple.ctypes, complex_.ctypes, routed.ctypes)
        pointers = (ctypes.c_void_p(array.data) for array in arrays)
        status = self.library.cascade_run(
            ctypes.c_void_p(windows.ctypes.data), ctypes.c_size_t(len(windows)), *pointers
        )
        if status:
            raise RuntimeError("cascade_run refused windows that were checked")
        return IntegerOutput(simple, complex_, routed.astype(bool))


def compiler_installed() -> bool:
    """Whether there is a C++ compiler."""
    return shutil.which(COMPILER) is not None


def compile_cpp(folder: Path | str, target: Path | str, *, optimisation: str = "-O3") -> Path:
    """Compile the source in `folder` into the shared library `target`.

    Raises:
        DataError: there is no compiler, or it refuses the source.
    """
    if not compiler_installed():
        raise DataError(f"{COMPILER}: not installed; install it (Debian: apt-get install g++)")
    command = [COMPILER, optimisation, *FLAGS, "-o", str(target), str(Path(folder) / SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(f"{Path(folder) / SOURCE}: {COMPILER} refuses it:\n{done.stderr[-2000:]}")
    return Path(target)


def load_cpp(model: IntegerModel, library: Path | str) -> CppCascade:
    """Open a compiled library of that model."""
    return CppCascade(model, ctypes.CDLL(str(Path(library).resolve())))
