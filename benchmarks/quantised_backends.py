"""Figures of the software back ends: quantised nets in float64, numpy, C++ and ONNX bit for bit, and the C++'s speed.

The Bonn windows overlap and need REFERENCE_DATA; the demo's are those of EXP-C4-qat, of all patients and splits.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from benchmarks.figures import Figure, interleaved_median_s, parse_json_flag, report
from benchmarks.quantised import BATCH, STAGES, bonn_signal, make, runs_of
from pipeline.artifacts import read_json
from pipeline.cascade.predictions import signal_batches
from pipeline.config.cascade import SPLITS
from pipeline.config.cascade_loading import load_resolved_cascade
from pipeline.data.ieeg_windows import IeegWindows
from pipeline.quantised.back_ends import CPP, ONNX, QAT, Agreement, Comparison, open_back_ends
from pipeline.quantised.cpp_backend import CppCascade, compile_cpp, load_cpp
from pipeline.quantised.export_cpp import write_cpp
from pipeline.quantised.export_onnx_integer import write_onnx
from pipeline.quantised.integer_files import read_integer_model
from pipeline.quantised.integer_numpy import quantise_windows
from pipeline.quantised.quantised_training import load_quantised, load_trained

REPEATS = 200
Signal = Float[np.ndarray, "N C T"]


def compared(run: Path, batches: Iterable[Signal]) -> dict[str, Agreement]:
    """All software back ends, generated anew from the integer model of a run, on standardised signals."""
    model = read_integer_model(run / "integer_model")
    cascade = load_quantised(load_resolved_cascade(run.parent / "config.yaml"), run.name, stages_of(run), run)
    with tempfile.TemporaryDirectory() as work:
        write_cpp(model, Path(work) / "cpp")
        write_onnx(model, Path(work) / "onnx")
        comparison = Comparison(model, open_back_ends(model, cascade, Path(work), Path(work)))
        comparison.compare(batches)
    return comparison.agreements


def stages_of(run: Path) -> Path:
    """The patient's folder in EXP-C3-stages, same seed."""
    return run.parents[2] / STAGES / run.parent.name / run.name


def agreement_figures(name: str, agreements: list[dict[str, Agreement]], least: int, seconds: float) -> list[Figure]:
    """Windows compared, mismatches of each back end, and the time of all executors together."""
    windows = sum(found[ONNX].windows for found in agreements)
    figures = [Figure(f"{name}: windows through all back ends", float(windows), "windows", least, "higher")]
    for back_end in (QAT, CPP, ONNX):
        wrong = [found[back_end].mismatches for found in agreements if back_end in found]
        if len(wrong) < len(agreements):
            print(f"{name}: {back_end}: not installed")
            continue
        title = f"{name}: {back_end} differs from numpy (logits, route bit)"
        figures.append(Figure(title, float(sum(wrong)), "windows", 0, "lower"))
    return [*figures, Figure(f"{name}: time of all executors", seconds, "s", 180, "lower")]


def demo_figures(results: Path) -> list[Figure]:
    """Every window of every patient of the demo."""
    began = time.perf_counter()
    agreements = [compared(run, _windows_of(run)) for run in runs_of(results)]
    return agreement_figures("demo", agreements, 2000, time.perf_counter() - began)


def _windows_of(run: Path) -> Iterable[Signal]:
    cfg = load_resolved_cascade(run.parent / "config.yaml")
    for split in SPLITS:
        for batch in signal_batches(IeegWindows(cfg.data.root, run.name, split), torch.device("cpu")):
            yield batch.numpy()


def bonn_figures() -> list[Figure]:
    """Overlapping windows of every Bonn record."""
    if not os.environ.get("REFERENCE_DATA"):
        print("REFERENCE_DATA is not set: the Bonn rows of the back ends are left out")
        return []
    run, signal = bonn_signal()
    began = time.perf_counter()
    found = compared(run, (signal[start : start + BATCH] for start in range(0, len(signal), BATCH)))
    return agreement_figures("Bonn", [found], 10_000, time.perf_counter() - began)


def speed_figures(results: Path) -> list[Figure]:
    """One window through the simple model: C++ against the trained float model, PyTorch eager, one thread each."""
    torch.set_num_threads(1)
    run = runs_of(results)[0]
    cfg, stages = load_resolved_cascade(run.parent / "config.yaml"), stages_of(run)
    windows = IeegWindows(cfg.data.root, run.name, "test")
    trained = load_trained(cfg, stages, read_json(stages / "cascade.json"), windows)
    model = read_integer_model(run / "integer_model")
    signal = windows.read(np.arange(1))
    batch, window = torch.from_numpy(signal), quantise_windows(model.input, signal)
    with tempfile.TemporaryDirectory() as work, torch.inference_mode():
        write_cpp(model, work)
        cascade = load_cpp(model, compile_cpp(work, Path(work) / "libcascade.so"))
        arms = {"PyTorch": lambda: trained.simple_logits(batch), "C++": _call(cascade, window)}
        seconds = interleaved_median_s(arms, REPEATS)
    times = ", ".join(f"{name} {1e6 * value:.1f} us" for name, value in seconds.items())
    print(f"simple model {trained.simple.variant}, B=1: {times}")
    title = "C++ against PyTorch eager, simple model, B=1"
    return [Figure(title, seconds["PyTorch"] / seconds["C++"], "times", 3, "higher")]


def _call(cascade: CppCascade, window: np.ndarray):
    logits = np.zeros(2, np.int64)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (window, logits)]
    return lambda: cascade.library.cascade_simple(*pointers)


def main() -> None:
    """Make what is missing, measure, print, write."""
    arguments = parse_json_flag(__doc__)
    demo = make("demo")
    report([*demo_figures(demo), *bonn_figures(), *speed_figures(demo)], arguments.json)


if __name__ == "__main__":
    main()
