"""The report's section on the quantised cascade, from small artefacts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import write_json, write_parquet
from pipeline.report.blocks import Figure, Notice, Prose, Section, Table
from pipeline.report.context import read_context
from pipeline.report.rendering import svg_of
from pipeline.report.sections.quantised import section

PATIENTS, RECORDINGS, WINDOWS = ("ID1", "ID02"), 5, 60


def predictions(patient: str, flips: int) -> pd.DataFrame:
    """Right answers, but for `flips` of each recording."""
    label = np.tile(np.arange(WINDOWS) % 3 == 0, RECORDINGS)
    right = np.tile(np.arange(WINDOWS) >= flips, RECORDINGS)
    score = np.where(label == right, 1.0, -1.0)
    table = pd.DataFrame(
        {
            "patient": patient,
            "recording": np.repeat([f"Sz{k}" for k in range(RECORDINGS)], WINDOWS),
            "start_s": np.tile(np.arange(float(WINDOWS)), RECORDINGS),
            "split": "test",
            "label": label.astype(int),
        }
    )
    return table.assign(routed=False, logit_0=-score, logit_1=score)


def layers() -> pd.DataFrame:
    rows = [
        ("simple", "electrode", "SelectElectrode", 1, 512, np.nan, np.nan, np.nan, 16, 2.0**-11, np.nan, np.nan, 0, 0),
        ("simple", "c1", "Conv1d", 16, 249, 16.0, 2.0**-15, 1.5, 16, 2.0**-10, 34.0, 16.0, 256, 59760),
        ("complex", "block_2.depthwise", "Conv1d", 32, 128, 8.0, 2.0**-7, 3.2, 8, 2.0**-4, 25.0, 14.0, 256, 28672),
    ]
    names = ["network", "layer", "kind", "channels", "time", "weight_bits", "weight_scale", "scale_spread_bits"]
    names += ["output_bits", "output_scale", "accumulator_bits", "shift", "parameters", "macs"]
    return pd.DataFrame(rows, columns=names)


def metrics() -> pd.DataFrame:
    values = {"balanced_accuracy": 0.97, "auc": 0.99, "average_precision": 0.95, "call_rate": 0.1}
    rows = [
        (patient, arm, "test", name, value)
        for patient in PATIENTS
        for arm in ("float", "qat", "integer")
        for name, value in values.items()
    ]
    rows += [(patient, "integer", "all", "weight_bytes", 1e5) for patient in PATIENTS]
    return pd.DataFrame(rows, columns=["patient", "arm", "split", "metric", "value"])


def manifest(patient: str, mismatches: int) -> dict:
    counts = {"parameters": 100, "macs": 2000, "weight_bytes": 150}
    return {
        "patient": patient,
        "simple_model": "A",
        "electrode": 3,
        "threshold": 0.8,
        "threshold_before": 0.75,
        "integer_margin": 12345,
        "windows_compared": 900,
        "mismatches": mismatches,
        "networks": {"simple": counts, "complex": counts},
    }


def write_results(results: Path, *, flips: int = 0, mismatches: int = 0, variant: str = "") -> None:
    for patient in PATIENTS:
        run = results / f"EXP-C4-qat{variant}" / "seed0" / patient
        write_parquet(run / "predictions.parquet", predictions(patient, flips))
        write_parquet(run / "layers.parquet", layers())
        write_json(run / "quantised.json", manifest(patient, mismatches))
        write_parquet(results / "EXP-C3-stages" / "seed0" / patient / "predictions.parquet", predictions(patient, 1))
    write_parquet(results / f"EXP-C4-qat{variant}" / "seed0" / "metrics.parquet", metrics())


def made(results: Path) -> Section:
    return section(read_context(results, "demo"))


def test_without_a_run_the_section_says_how_to_make_it(tmp_path):
    (block,) = made(tmp_path).blocks
    assert isinstance(block, Prose)
    assert "snakemake --cores all EXP-C4-qat" in block.html


@pytest.mark.parametrize(
    ("flips", "mismatches", "kind", "words"),
    [(1, 0, "note", "within one point"), (12, 0, "warning", "cannot be excluded"), (1, 7, "warning", "14 of 1,800")],
)
def test_the_summary_warns_of_lost_accuracy_and_of_different_bits(tmp_path, flips, mismatches, kind, words):
    write_results(tmp_path, flips=flips, mismatches=mismatches)
    notice = made(tmp_path).blocks[0]
    assert isinstance(notice, Notice)
    assert notice.kind == kind
    assert words in notice.html


def test_variants_that_were_made_join_the_table_and_every_figure_draws(tmp_path):
    write_results(tmp_path)
    write_results(tmp_path, variant="__int8")
    blocks = made(tmp_path).blocks
    tables = {block.name: block for block in blocks if isinstance(block, Table)}
    assert tables["quantised-scores"].data["arm"].tolist()[-1] == "integer model, int8"
    assert len(tables["quantised-scores"].data) == 4
    assert len(tables["quantised-layers"].data) == 3
    figures = [block for block in blocks if isinstance(block, Figure)]
    assert [figure.name for figure in figures] == ["quantised-spread"]
    assert "block_2.depthwise" in svg_of(figures[0].spec, "quantised-spread")


def test_back_ends_show_once_they_were_checked(tmp_path):
    write_results(tmp_path)
    last = made(tmp_path).blocks[-1]
    assert isinstance(last, Prose)
    assert "EXP-C5-export-verify" in last.html
    run = tmp_path / "EXP-C5-export-verify" / "seed0" / "ID1"
    row = {"network": "simple", "backend": "cpp", "status": "ok", "windows": 10}
    write_parquet(run / "agreement.parquet", pd.DataFrame([{**row, "logit_mismatches": 0, "route_mismatches": 0}]))
    row = {"design": "simple", "tool": "yosys", "quantity": "DSP", "value": 1.0, "unit": "count"}
    write_parquet(run / "resources.parquet", pd.DataFrame([row]))
    names = [block.name for block in made(tmp_path).blocks if isinstance(block, Table)]
    assert names[-2:] == ["quantised-agreement", "quantised-resources"]
