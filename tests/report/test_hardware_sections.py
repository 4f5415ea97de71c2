"""The hardware sections of the report: complete where there are results, silent about what was not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts import write_json, write_parquet
from pipeline.report.blocks import Figure, Notice, Prose, Section, Table
from pipeline.report.context import read_context
from pipeline.report.rendering import svg_of
from pipeline.report.sections import hardware, proxies

CHIPS = ("a100", "l4")
KNOBS = ("dense", "tokens", "heads", "channels", "blocks")


def figures(section: Section) -> dict[str, Figure]:
    return {block.name: block for block in section.blocks if isinstance(block, Figure)}


def tables(section: Section) -> dict[str, Table]:
    return {block.name: block for block in section.blocks if isinstance(block, Table)}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder `demo` with made-up hardware tables of two seeds of one design on two chips."""
    root = tmp_path / "demo"
    runs = [f"EXP-P1V-4-ast-hw/seed{seed}" for seed in (0, 1)]
    rows, knobs = [], []
    for run in runs:
        for setting in hardware.SETTINGS:
            for place, chip in enumerate(CHIPS):
                costs = {"latency_ms": 40.0 + place, "energy_j": 3.0, "memory_mb": 500.0, "flops": 1e12}
                rows.append({"run": run, "setting": setting, "chip": chip, "fits": place == 0, **costs})
                for step, knob in enumerate(KNOBS):
                    latency_ms = 100.0 - 15.0 * step + place
                    knobs.append({"run": run, "setting": setting, "knob": knob, "chip": chip, "latency_ms": latency_ms})
    write_parquet(root / "hardware/predictions.parquet", pd.DataFrame(rows))
    write_parquet(root / "hardware/knobs.parquet", pd.DataFrame(knobs))
    host = {"threads": 2, "measured_ms": 9.0, "measured_iqr_ms": 0.2, "dense_ms": 20.0, "predicted_ms": 10.0}
    host |= {"ratio": 0.45, "ratio_low": 0.43, "ratio_high": 0.47}
    write_parquet(root / "hardware/host.parquet", pd.DataFrame([{"run": run, **host} for run in runs]))
    layers = pd.DataFrame({"layer_type": ["linear", "sdpa", "block"], "latency_ms": [1.0, 2.0, 4.0]})
    write_parquet(root / "hardware/host_layers.parquet", layers.assign(predicted_ms=[1.1, 1.9, 5.0]))
    rejected = {"layer_type": "linear", "op": "linear", "precision": 0, "flops": 1e6, "latency_ms": 0.1}
    write_parquet(root / "hardware/profile/rejected.parquet", pd.DataFrame([{**rejected, "reason": "spread 30%"}]))
    facts = {"rows": 3, "threads": 2, "peak_flops_fp32": 1e11, "peak_bw": 1e10, "precisions": "fp32"}
    write_json(root / "hardware/profile/profile.json", {**facts, "energy": "not readable"})
    return root


def test_costs_are_means_over_seeds_and_relative_to_dense(results: Path):
    section = hardware.section(read_context(results))
    costs = tables(section)["hardware_costs"].data
    assert set(costs["design"]) == {"P1V-4-ast-hw"}
    assert costs.query("chip == 'a100'")["percent"].tolist() == pytest.approx([40.0, 40.0])
    assert costs.query("chip == 'l4'")["fits"].tolist() == [0.0, 0.0]
    knobs = tables(section)["hardware_knobs"].data
    assert knobs.query("chip == 'a100'")["tokens"].tolist() == pytest.approx([15.0, 15.0])
    assert set(figures(section)) == {"hardware_latency", "hardware_throughput", "hardware_parity"}
    for figure in figures(section).values():
        assert "<svg" in svg_of(figure.spec, figure.name)
        assert figure.description


def test_rejected_rows_come_with_their_reason_and_a_notice(results: Path):
    section = hardware.section(read_context(results))
    assert tables(section)["hardware_rejected"].data["reason"].tolist() == ["spread 30%"]
    assert any(isinstance(block, Notice) and "1 row" in block.html for block in section.blocks)
    said = " ".join(block.html for block in section.blocks if isinstance(block, Prose))
    assert "modelled" in said
    assert "within 25 %" in said


def test_without_results_the_sections_say_how_to_make_them(tmp_path: Path):
    context = read_context(tmp_path / "demo")
    for module in (hardware, proxies):
        (block,) = module.section(context).blocks
        assert isinstance(block, Prose)
        assert "Not run" in block.html


@pytest.fixture
def fitted(tmp_path: Path) -> Path:
    """A results folder with a made-up proxy of two devices."""
    root = tmp_path / "demo"
    folder = root / proxies.LATENCY / "seed0"
    notes = {
        "devices": list(CHIPS),
        "config": {"data": {"layer_latency": "results/demo/hardware/modelled/layers.parquet"}},
    }
    write_json(folder / "proxy.json", {"notes": notes})
    errors = {"median_ape": 5.0, "mape": 8.0, "spearman": 0.99}
    write_parquet(
        folder / "shapes.parquet", pd.DataFrame([{"layer_type": name, **errors} for name in ("all", "linear")])
    )
    latency = np.array([0.1, 1.0, 10.0, 1.0])
    left_out = pd.DataFrame({"device": [*CHIPS, *CHIPS], "layer_type": "linear", "latency_ms": latency})
    write_parquet(folder / "left_out.parquet", left_out.assign(proxy=np.log(1.1 * latency)))
    rows = [
        {"method": "proxy", "device": chip, "layer_type": kind, **errors}
        for chip in CHIPS
        for kind in ("all", "linear")
    ]
    write_parquet(folder / "transfer.parquet", pd.DataFrame(rows))
    coverage = pd.DataFrame({"device": CHIPS, "rows": [30, 10], "coverage": [0.9, 0.5]})
    write_parquet(folder / "coverage.parquet", coverage)
    return root


def test_left_out_devices_are_shown_with_the_pooled_coverage(fitted: Path):
    section = proxies.section(read_context(fitted))
    drawn = figures(section)
    assert "pooled 80 %" in drawn["proxy_coverage"].caption
    assert "median error 10.0 %" in drawn["proxy_parity"].caption
    assert set(tables(section)) == {"proxy_shapes", "proxy_transfer"}
    said = " ".join(block.html for block in section.blocks if isinstance(block, Prose))
    assert "<em>modelled</em>" in said
    assert "nothing is claimed about its error" in said


def test_one_measured_device_cannot_be_left_out(fitted: Path):
    (fitted / proxies.LATENCY / "seed0" / "left_out.parquet").unlink()
    section = proxies.section(read_context(fitted))
    assert any(isinstance(block, Notice) and "cannot be assessed" in block.html for block in section.blocks)


def test_power_and_rejected_models_are_shown_where_models_were_measured(fitted: Path):
    folder = fitted / proxies.POWER / "seed0"
    models = pd.DataFrame({"device": ["A10", "A100"], "flops_tensor": [1e12, 2e12], "latency_ms": [20.0, 10.0]})
    models = models.assign(power_w=[100.0, 200.0], power_w_unseen_workload=[110.0, 180.0])
    write_parquet(folder / "models.parquet", models)
    write_parquet(folder / "rejected.parquet", models.head(1).assign(reason="faster than its peak"))
    section = proxies.section(read_context(fitted))
    power = figures(section)["proxy_power"]
    assert power.data["busy"].tolist() == pytest.approx([50.0, 200.0])
    assert "median error 10.0 %" in power.caption
    assert tables(section)["proxy_rejected"].data["reason"].tolist() == ["faster than its peak"]
