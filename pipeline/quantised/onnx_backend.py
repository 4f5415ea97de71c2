"""The exported ONNX files in onnxruntime, on one thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .export_onnx_integer import FILES
from .integer_model import IntegerModel
from .integer_numpy import IntegerOutput, check_windows

BATCH = 32


@dataclass(frozen=True)
class OnnxCascade:
    """Both sessions: callable on quantised windows, as `run_integer_model` is."""

    model: IntegerModel
    simple: Any
    complex: Any

    def __call__(self, windows: np.ndarray) -> IntegerOutput:
        """Logits of both networks and the route bit of int16 windows [N, C, T].

        Raises:
            DataError: windows of another shape or type, or out of the input's range.
        """
        check_windows(self.model.input.window, windows)
        parts = []
        for start in range(0, len(windows), BATCH):
            feed = {"window": windows[start : start + BATCH]}
            simple, routed = self.simple.run(["logits", "routed"], feed)
            (complex_,) = self.complex.run(["logits"], feed)
            # onnxruntime's integers are C's `long long`, another numpy type of the same 64 bits.
            parts.append((simple.astype(np.int64), complex_.astype(np.int64), routed))
        if not parts:
            empty = np.zeros((0, 2), np.int64)
            return IntegerOutput(empty, empty, np.zeros(0, bool))
        return IntegerOutput(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def load_onnx(model: IntegerModel, folder: Path | str) -> OnnxCascade:
    """Open `simple.onnx` and `complex.onnx` of that model.

    Raises:
        DataError: a file is missing or onnxruntime refuses it.
    """
    return OnnxCascade(model, *(_session(Path(folder) / FILES[network.name]) for network in model.networks))


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not path.is_file():
        raise DataError(f"{path}: no such file; export the model again")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base class
        raise DataError(f"{path}: onnxruntime refuses it ({error}); export the model again") from error
