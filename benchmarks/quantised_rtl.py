"""Figures of the generated Verilog: preset `demo`, and one net of every kind that a decision can pick.

Verilator and yosys must be installed. Snakemake makes the experiment first, which does nothing where it is up to
date. Nets of the kinds that no patient's decision picked have the weights of initialisation, on grids that the
patient's windows choose: bits and cells do not depend on what a net has learnt.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Figure, parse_json_flag, report
from benchmarks.quantised import make, runs_of
from pipeline.artifacts import read_json
from pipeline.cascade.cascade_models import SIMPLE_VARIANTS, SeizureCascade
from pipeline.config.cascade import CascadeConfig
from pipeline.config.cascade_loading import load_resolved_cascade
from pipeline.data.ieeg_windows import IeegWindows
from pipeline.quantised.conversion import build_integer_model
from pipeline.quantised.export_verilog import count_resources, cycles_per_window, simulate, write_rtl
from pipeline.quantised.integer_files import read_integer_model
from pipeline.quantised.integer_model import IntegerModel
from pipeline.quantised.integer_numpy import quantise_windows, routed_by, run_network
from pipeline.quantised.qat import quantise_cascade
from pipeline.quantised.quantised_training import scale_windows
from pipeline.quantised.rtl_resources import missing_yosys
from pipeline.quantised.rtl_simulation import missing_verilator

WINDOWS = 1000
# All that the second smallest 7-series device, the Spartan-7 XC7S15, has (Xilinx DS180).
LARGEST_BLOCK_RAM = 20
SPLITS = ("test", "calibration", "val", "train")


def patient_windows(cfg: CascadeConfig, patient: str, model: IntegerModel) -> np.ndarray:
    """`WINDOWS` quantised windows of a patient, held-back recordings first."""
    parts: list[np.ndarray] = []
    for split in SPLITS:
        windows = IeegWindows(cfg.data.root, patient, split)
        missing = WINDOWS - sum(map(len, parts))
        if missing:
            parts.append(windows.read(np.arange(min(missing, len(windows)))))
    return quantise_windows(model.input, np.concatenate(parts))


def untrained(cfg: CascadeConfig, patient: str, variant: str) -> IntegerModel:
    """A net of initialisation of one kind as an integer model, mixed widths; its margin halves the windows."""
    train = IeegWindows(cfg.data.root, patient, "train")
    torch.manual_seed(cfg.seed)
    mask = torch.from_numpy(train.channel_mask[: train.n_channels])
    cascade = SeizureCascade(variant, mask, sample_rate_hz=cfg.data.sample_rate_hz).eval()
    quantised = quantise_cascade(cascade, "mixed", scale_windows(cfg, train)).double().eval()
    with torch.no_grad():
        logits = quantised.simple_logits(torch.from_numpy(train.read(np.arange(64))).double())
        quantised.margin.fill_(float((logits[:, 1] - logits[:, 0]).abs().median()))
    return build_integer_model(quantised, patient, cfg.data.sample_rate_hz)


def figures_of(title: str, model: IntegerModel, windows: np.ndarray) -> list[Figure]:
    """Simulation and synthesis of one model."""
    with tempfile.TemporaryDirectory() as folder:
        write_rtl(model, folder)
        simulated, counts = simulate(folder, model, windows), count_resources(folder)
    assert simulated is not None
    assert counts is not None
    logits, routed, cycles = simulated
    expected = run_network(model.simple, windows)
    route = routed_by(expected, model.routing.margin)
    wrong = int(((logits != expected).any(1) | (routed != route)).sum())
    print(
        f"{title}: {len(windows)} windows of {windows.shape[1]} electrodes, {int(route.sum())} routed; "
        f"{counts['RAMB18E1']} RAMB18E1, {counts['RAMB36E1']} RAMB36E1, {counts['FF']} flip-flops"
    )
    block_ram = counts["RAMB18E1"] + 2 * counts["RAMB36E1"]
    beside = abs(cycles - cycles_per_window(model))
    return [
        Figure(f"{title}: windows simulated", float(len(windows)), "windows", 1000, "higher"),
        Figure(f"{title}: Verilator differs, logits or route", float(wrong), "windows", 0, "lower"),
        Figure(f"{title}: cycles per window", float(cycles), "cycles", 300_000, "lower"),
        Figure(
            f"{title}: cycles beside the stated ones",
            float(beside),
            "cycles",
            0,
            "lower",
        ),
        Figure(f"{title}: DSP48E1", float(counts["DSP48E1"]), "cells", 2, "lower"),
        Figure(f"{title}: look-up tables", float(counts["LUT"]), "cells", 1500, "lower"),
        Figure(f"{title}: block RAM of 18 kbit", float(block_ram), "cells", LARGEST_BLOCK_RAM, "lower"),
    ]


def demo_figures(results: Path) -> list[Figure]:
    """Simulation and synthesis of a patient's own model and of one of every other kind; none without the tools."""
    missing = missing_verilator() or missing_yosys()
    if missing:
        print(f"no figures of the generated Verilog: {missing}")
        return []
    run = runs_of(results)[0]
    cfg = load_resolved_cascade(run.parent / "config.yaml")
    model, picked = read_integer_model(run / "integer_model"), read_json(run / "quantised.json")["simple_model"]
    windows = patient_windows(cfg, run.name, model)
    figures = figures_of(f"{run.name}, {picked}", model, windows)
    for variant in SIMPLE_VARIANTS:
        if variant != picked:
            other = untrained(cfg, run.name, variant)
            figures += figures_of(variant, other, patient_windows(cfg, run.name, other))
    return figures


def main() -> None:
    """Make what is missing, measure, print, write."""
    arguments = parse_json_flag(__doc__ or "")
    figures = demo_figures(make("demo"))
    if not figures:
        sys.exit(1)
    report(figures, arguments.json)


if __name__ == "__main__":
    main()
