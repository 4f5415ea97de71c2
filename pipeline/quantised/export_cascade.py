"""EXP-C5-export-verify: the export folder of one patient, and every back end in it on the experiment's windows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int

from ..artifacts import exclusive, read_json, sha256_of_file, write_json, write_parquet
from ..cascade.cascade_training import open_splits
from ..cascade.metric_table import Row, metric_table
from ..cascade.predictions import signal_batches
from ..config.cascade import CascadeConfig
from ..config.cascade_loading import load_resolved_cascade
from ..data.ieeg_windows import IeegWindows, windowed_patients
from ..errors import DataError
from ..trainer.metrics import Metric
from .back_ends import RTL, Agreement, Comparison, agreement_table, open_back_ends
from .export_folder import MANIFEST, write_export
from .export_verilog import count_resources, simulate
from .integer_files import DOCUMENT, read_integer_model
from .integer_model import IntegerModel
from .integer_numpy import quantise_windows, run_integer_model
from .quantised_result import INTEGER_MODEL
from .quantised_training import load_quantised

DESIGN = "selector, simple model, decision"
RESOURCE_COLUMNS = ["design", "tool", "quantity", "value", "unit"]
FACTS = ("simple_model", "electrode_mean", "electrode_scale", "widths", "threshold_before")


def export_patients(cfg: CascadeConfig, out: Path, results: Path, patient: str | None = None) -> None:
    """`export_patient` for one patient, or for all of the data folder, each into its own folder under `out`.

    Args:
        cfg: the resolved configuration.
        out: the run folder.
        results: the preset's results, where EXP-C3-stages and EXP-C4-qat of the same seed lie.
        patient: only this one.
    """
    for name in [patient] if patient else windowed_patients(cfg.data.root):
        stages, quantised = (results / run / f"seed{cfg.seed}" / name for run in ("EXP-C3-stages", "EXP-C4-qat"))
        export_patient(cfg, name, stages, quantised, out / name)


def export_patient(cfg: CascadeConfig, patient: str, stages: Path, quantised: Path, out: Path) -> None:
    """Write `export/`, run all back ends on all windows (RTL on some), and write what was found.

    Raises:
        DataError: an input is missing or of another run, or a back end cannot express a layer.
        RuntimeError: a back end differs from the integer model in a bit; a fault of this program.
    """
    facts = read_json(quantised / "quantised.json")
    document = quantised / INTEGER_MODEL / DOCUMENT
    model = read_integer_model(quantised / INTEGER_MODEL)
    if sha256_of_file(document) != facts["integer_model_sha256"]:
        raise DataError(f"{document}: not the one of {quantised}/quantised.json; make EXP-C4-qat again")
    splits, _ = open_splits(cfg, patient)
    cascade = load_quantised(load_resolved_cascade(quantised.parent / "config.yaml"), patient, stages, quantised)
    export = out / "export"
    with exclusive(out / ".lock"), tempfile.TemporaryDirectory() as work:
        vectors = _evenly(model, [splits["test"]], cfg.export.vectors)
        write_export(model, export, vectors, {name: facts[name] for name in FACTS})
        comparison = Comparison(model, open_back_ends(model, cascade, export, Path(work)))
        comparison.compare(_signals(splits))
        simulated = _simulate(model, export / "rtl", _evenly(model, list(splits.values()), cfg.export.rtl_windows))
        agreements = comparison.agreements | ({RTL: simulated[0]} if simulated else {})
        wrong = sum(agreement.mismatches for agreement in agreements.values())
        if wrong:
            table = agreement_table(agreements).to_string(index=False)
            raise RuntimeError(f"{patient}: back ends differ from the integer model:\n{table}")
        _write(cfg, patient, export, agreements, simulated[1] if simulated else None, out)


def _signals(splits: dict[str, IeegWindows]) -> Iterator[np.ndarray]:
    for windows in splits.values():
        for batch in signal_batches(windows, torch.device("cpu")):
            yield batch.numpy()


def _evenly(model: IntegerModel, splits: list[IeegWindows], count: int) -> Int[np.ndarray, "N C T"]:
    """Quantised windows, evenly spaced over the splits behind each other; all of them if there are fewer."""
    total = sum(map(len, splits))
    chosen = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    parts, start = [], 0
    for windows in splits:
        own = chosen[(chosen >= start) & (chosen < start + len(windows))] - start
        parts.append(quantise_windows(model.input, windows.read(own)))
        start += len(windows)
    return np.concatenate(parts)


def _simulate(model: IntegerModel, folder: Path, windows: np.ndarray) -> tuple[Agreement, int] | None:
    """The RTL's answers against the integer model's, and its cycles; None where Verilator is not installed."""
    answer = simulate(folder, model, windows)
    if answer is None:
        return None
    logits, routed, cycles = answer
    expected = run_integer_model(model, windows)
    agreement = Agreement()
    agreement.add(expected, (logits, expected.complex, routed))
    return agreement, cycles


def _write(
    cfg: CascadeConfig, patient: str, export: Path, agreements: dict[str, Agreement], cycles: int | None, out: Path
) -> None:
    table = agreement_table(agreements)
    resources = _resources(export, cycles)
    write_parquet(out / "agreement.parquet", table)
    write_parquet(out / "resources.parquet", resources)
    rows: list[Row] = [
        (str(row["backend"]), "all", Metric.MISMATCHES, float(row["logit_mismatches"]))
        for row in table[table["network"] == "simple"].dropna(subset="logit_mismatches").to_dict("records")
    ]
    write_parquet(out / "metrics.parquet", metric_table(cfg, patient, rows))
    manifest: dict[str, Any] = {
        "patient": patient,
        "export_sha256": read_json(export / MANIFEST)["sha256"],
        "back_ends": {
            name: {"windows": found.windows, "mismatches": found.mismatches} for name, found in agreements.items()
        },
        "resources": {
            str(row["quantity"]): None if np.isnan(row["value"]) else row["value"]
            for row in resources.to_dict("records")
        },
    }
    write_json(out / "verification.json", manifest)
    print(table.to_string(index=False), flush=True)
    print(resources.to_string(index=False), flush=True)


def _resources(export: Path, cycles: int | None) -> pd.DataFrame:
    """Cells by yosys, cycles stated by the program and cycles simulated; NaN where the tool is not installed."""
    stated = read_json(export / MANIFEST)["rtl"]["cycles_per_window"]
    rows: list[tuple[str, str, str, float, str]] = [
        (DESIGN, "engine's program", "cycles per window, stated", float(stated), "cycles"),
        (
            DESIGN,
            "Verilator" if cycles else "Verilator, not installed",
            "cycles per window, simulated",
            float(cycles) if cycles else np.nan,
            "cycles",
        ),
    ]
    counted = count_resources(export / "rtl")
    for name in ("DSP48E1", "LUT", "FF", "RAMB18E1", "RAMB36E1"):
        tool = "yosys, xc7" if counted else "yosys, not installed"
        rows.append((DESIGN, tool, name, float(counted[name]) if counted else np.nan, "cells"))
    return pd.DataFrame(rows, columns=RESOURCE_COLUMNS)
