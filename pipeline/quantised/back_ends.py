"""All executors of one cascade side by side: which windows they disagree on with the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from .answers import float_route, quantised_logits
from .cpp_backend import compile_cpp, compiler_installed, load_cpp
from .integer_model import IntegerModel
from .integer_numpy import IntegerOutput, quantise_windows, run_integer_model
from .onnx_backend import load_onnx
from .qat import QuantisedCascade

COLUMNS = ["network", "backend", "status", "windows", "logit_mismatches", "route_mismatches"]
NOT_INSTALLED = "not installed"
QAT, CPP, ONNX, RTL = "QAT, float64", "C++", "ONNX, onnxruntime", "RTL, Verilator"
# Simple and complex logits in the integer model's units, and the route bit.
Outputs = tuple[np.ndarray, np.ndarray, np.ndarray]
BackEnd = Callable[[Float[np.ndarray, "N C T"], Int[np.ndarray, "N C T"]], Outputs]


@dataclass
class Agreement:
    """How many windows were compared, and on how many each back end differs."""

    windows: int = 0
    simple: int = 0
    complex: int = 0
    routed: int = 0

    def add(self, expected: IntegerOutput, answer: Outputs) -> None:
        """Count another batch."""
        self.windows += len(expected.routed)
        self.simple += int((answer[0] != expected.simple).any(1).sum())
        self.complex += int((answer[1] != expected.complex).any(1).sum())
        self.routed += int((answer[2] != expected.routed).sum())

    @property
    def mismatches(self) -> int:
        """Everything that differs."""
        return self.simple + self.complex + self.routed


@dataclass
class Comparison:
    """The agreement of each back end with the reference executor, over all batches that `compare` was given."""

    model: IntegerModel
    back_ends: dict[str, BackEnd]
    agreements: dict[str, Agreement] = field(default_factory=dict)

    def compare(self, batches: Iterable[Float[np.ndarray, "N C T"]]) -> None:
        """Run all back ends on standardised signals."""
        for signal in batches:
            windows = quantise_windows(self.model.input, signal)
            expected = run_integer_model(self.model, windows)
            for name, back_end in self.back_ends.items():
                self.agreements.setdefault(name, Agreement()).add(expected, back_end(signal, windows))

    @property
    def mismatches(self) -> int:
        """Everything that differs, over all back ends."""
        return sum(agreement.mismatches for agreement in self.agreements.values())


def open_back_ends(
    model: IntegerModel, cascade: QuantisedCascade | None, export: Path, work: Path
) -> dict[str, BackEnd]:
    """The executors beside the reference: quantised nets in float64, C++ (where there is a compiler), ONNX.

    Args:
        model: the integer model.
        cascade: its quantised nets in float64; None leaves them out.
        export: folder with `cpp/` and `onnx/`.
        work: where the library is built.
    """
    back_ends: dict[str, BackEnd] = {}
    if cascade is not None:
        back_ends[QAT] = _quantised(model, cascade)
    if compiler_installed():
        back_ends[CPP] = _integers(load_cpp(model, compile_cpp(export / "cpp", work / "libcascade.so")))
    back_ends[ONNX] = _integers(load_onnx(model, export / "onnx"))
    return back_ends


def agreement_table(agreements: dict[str, Agreement]) -> pd.DataFrame:
    """One row per network and back end; the route bit is the simple network's, and RTL has no complex one."""
    rows = []
    for name in (QAT, CPP, ONNX, RTL):
        found = agreements.get(name)
        for network in ("simple", "complex"):
            if name == RTL and network == "complex":
                continue
            if found is None:
                rows.append((network, name, NOT_INSTALLED, 0, np.nan, np.nan))
                continue
            wrong = found.simple if network == "simple" else found.complex
            routes = float(found.routed) if network == "simple" else np.nan
            status = "mismatch" if wrong or routes > 0 else "equal"
            rows.append((network, name, status, found.windows, float(wrong), routes))
    return pd.DataFrame(rows, columns=COLUMNS)


def _integers(executor: Callable[[np.ndarray], IntegerOutput]) -> BackEnd:
    def run(signal: np.ndarray, windows: np.ndarray) -> Outputs:
        answer = executor(windows)
        return answer.simple, answer.complex, answer.routed

    return run


def _quantised(model: IntegerModel, cascade: QuantisedCascade) -> BackEnd:
    """Real logits over the logits' scale: whole numbers exactly where the nets are the integer model."""
    units = [2.0**-network.logits.exponent for network in model.networks]
    margin = float(cascade.margin)

    def run(signal: np.ndarray, windows: np.ndarray) -> Outputs:
        simple, complex_ = quantised_logits(cascade, signal)
        return simple * units[0], complex_ * units[1], float_route(simple, margin)

    return run
