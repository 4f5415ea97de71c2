"""The hardware proxies against their bars, on the reference tables: `python -m benchmarks.proxy --json OUT`.

Needs the folder named by REFERENCE_DATA. Fits and leave-one-device-out predictions are kept under
`results/benchmarks/proxy`; those of an earlier run with the same settings and code are used again.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch

from benchmarks.figures import Figure, interleaved_median_s, parse_json_flag, report
from pipeline.artifacts import fingerprint, read_json, read_parquet, write_json
from pipeline.command_line import exit_code
from pipeline.config.proxy import ProxyConfig
from pipeline.errors import DataError
from pipeline.hw_proxy.device_table import DeviceTable, devices_from_chips
from pipeline.hw_proxy.layer_hw_proxy import LayerHwProxy
from pipeline.hw_proxy.layer_table import LayerTable, table_from_kernels
from pipeline.hw_proxy.measured_table import read_measured
from pipeline.hw_proxy.proxy_files import load_proxy
from pipeline.hw_proxy.proxy_fit import fit_proxy, predict_rows
from pipeline.hw_proxy.proxy_run import run_ms_mem, run_power
from pipeline.sources import sources_digest

OUT = Path("results/benchmarks/proxy")
Table = TypeVar("Table", LayerTable, DeviceTable)
SEGMENTS, SLOTS = 100, 64
LOOP_SHARE = 0.02


def main() -> None:
    """Fit, judge and time the proxies, and print every figure beside its bar."""
    arguments = parse_json_flag(__doc__ or "")
    config = reference_config()
    folder = OUT / fingerprint([config.model_dump(), sources_digest("pipeline.hw_proxy.proxy_run")])
    latency = folder / "ms_mem"
    if not (latency / "seconds.json").is_file():
        _timed_runs(config, folder)
    seconds = read_json(latency / "seconds.json")
    figures = [
        *_shape_figures(latency),
        *_transfer_figures(latency),
        *_model_figures(folder / "power"),
        *_speed_figures(load_proxy(latency)),
        Figure("final fit of both proxies", seconds["fit"], "s", 120, "lower"),
        Figure("leave-one-device-out table", seconds["left_out"], "s", 480, "lower"),
        Figure("largest difference between two fits", _repeat_difference(config), "log ms", 0.0, "lower"),
    ]
    report(figures, arguments.json)
    _print_tables(latency)


def reference_config() -> ProxyConfig:
    """The default configuration on the reference tables.

    Raises:
        DataError: REFERENCE_DATA does not name a folder that holds `proxy/`.
    """
    root = os.environ.get("REFERENCE_DATA")
    folder = Path(root or "") / "proxy"
    if root is None or not folder.is_dir():
        raise DataError("REFERENCE_DATA does not name a folder that holds proxy/; set it")
    return ProxyConfig.model_validate(
        {
            "data": {
                "layer_latency": str(folder / "layer_latency.parquet"),
                "devices": str(folder / "devices.csv"),
                "model_energy": str(folder / "model_energy.parquet"),
                "model_kernels": str(folder / "model_energy_kernels.parquet"),
            },
            "evaluation": {"baselines": ["roofline", "direct", "boosting"]},
        }
    )


def _timed_runs(config: ProxyConfig, folder: Path) -> None:
    without = config.model_copy(
        update={"evaluation": config.evaluation.model_copy(update={"leave_one_device_out": False})}
    )
    began = time.perf_counter()
    print(run_ms_mem(without, folder / "fit_only"), flush=True)
    latency_s = time.perf_counter() - began
    print(run_power(config, folder / "power", folder / "fit_only"), flush=True)
    both_s = time.perf_counter() - began
    print(run_ms_mem(config, folder / "ms_mem"), flush=True)
    # The last run fits the same proxy once more before it leaves devices out.
    left_out_s = time.perf_counter() - began - both_s - latency_s
    write_json(folder / "ms_mem" / "seconds.json", {"fit": both_s, "left_out": left_out_s})


def _shape_figures(folder: Path) -> list[Figure]:
    row = read_parquet(folder / "shapes.parquet").set_index("layer_type").loc["all"]
    return [
        Figure("unseen shapes, mean error", row.mape, "%", 9, "lower"),
        Figure("unseen shapes, median error", row.median_ape, "%", 5, "lower"),
        Figure("unseen shapes, rank correlation", row.spearman, "", 0.996, "higher"),
    ]


def _transfer_figures(folder: Path) -> list[Figure]:
    table = read_parquet(folder / "transfer.parquet")
    overall = table[table.layer_type == "all"].set_index(["method", "device"])
    proxy, roofline, few = (overall.loc[name] for name in ("proxy", "roofline", "calibrated"))
    coverage = read_parquet(folder / "coverage.parquet")
    pooled = float((coverage.coverage * coverage.rows).sum() / coverage.rows.sum())
    return [
        Figure("unseen device, median error", proxy.median_ape.mean(), "%", 14, "lower"),
        Figure("unseen device, mean error", proxy.mape.mean(), "%", 20, "lower"),
        Figure("unseen device, worst device's mean error", proxy.mape.max(), "%", 35, "lower"),
        Figure("largest error over the roofline's", (proxy.mape / roofline.mape).max(), "x", 1, "lower"),
        Figure("20 rows per type, median error", few.median_ape.mean(), "%", 9, "lower"),
        Figure("20 rows per type, mean error", few.mape.mean(), "%", 13, "lower"),
        Figure("90 % intervals, pooled coverage", 100 * pooled, "%", 85, "higher"),
        Figure("90 % intervals, pooled coverage (upper bar)", 100 * pooled, "%", 95, "lower"),
        Figure("90 % intervals, worst device's coverage", 100 * coverage.coverage.min(), "%", 60, "higher"),
    ]


def _model_figures(folder: Path) -> list[Figure]:
    metrics = read_parquet(folder / "metrics.parquet").set_index(["split", "metric"]).value
    return [
        Figure(
            "model latency from kernels, median", metrics["unseen_workload", "latency_median_ape"], "%", 10, "lower"
        ),
        Figure("mean power, unseen workloads", metrics["unseen_workload", "power_mape"], "%", 12, "lower"),
        Figure("mean power, left-out device", metrics["left_out_device", "power_mape"], "%", 20, "lower"),
        Figure("implausible rows, off the true 13", _rejection_errors(folder), "rows", 0, "lower"),
    ]


def _rejection_errors(folder: Path) -> float:
    """Rows wrongly kept or rejected: the true ones are bf16 rows near idle power, never fp32 ones."""
    rejected = read_parquet(folder / "rejected.parquet")
    true = int((rejected.prec != "fp32").sum())
    return float(abs(13 - true) + (len(rejected) - true))


def _speed_figures(proxy: LayerHwProxy) -> list[Figure]:
    table, slots = _segments(), _slots()
    few = max(1, int(LOOP_SHARE * SEGMENTS * SLOTS))

    def forward() -> None:
        with torch.no_grad():
            proxy.predict_segments(table, slots)

    def backward() -> None:
        sum(value.sum() for value in proxy.predict_segments(_live(table), _live(slots)).values()).backward()

    def loop() -> None:
        with torch.no_grad():
            for pair in range(few):
                one = table.select(torch.tensor([pair % SEGMENTS]))
                proxy.predict_segments(one, slots.select([pair % SLOTS]))

    torch.set_num_threads(1)
    spent = interleaved_median_s({"forward": forward, "backward": backward, "loop": loop}, repeats=7)
    ratio = spent["loop"] / few * SEGMENTS * SLOTS / spent["forward"]
    return [
        Figure(f"{SEGMENTS} x {SLOTS} costs, forward", 1e3 * spent["forward"], "ms", 60, "lower"),
        Figure(f"{SEGMENTS} x {SLOTS} costs, forward and backward", 1e3 * spent["backward"], "ms", 150, "lower"),
        Figure("one call against the double loop", ratio, "x", 100, "higher"),
    ]


def _live(table: Table) -> Table:
    """The same table with a gradient to every quantity."""
    floating = {
        name: value.clone().requires_grad_()
        for name, value in vars(table).items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    return replace(table, **floating)


def _segments() -> LayerTable:
    rng = np.random.default_rng(0)
    kernels = []
    for layer in range(SEGMENTS):
        rows, columns, depth = (float(2 ** rng.integers(6, 13)) for _ in range(3))
        moved = 2 * (rows * depth + depth * columns + rows * columns)
        flops = 2 * rows * columns * depth
        shape = {"rows": rows, "columns": columns, "depth": depth}
        kernels.append(
            {**shape, "layer": layer, "kind": "linear", "flops": flops, "bytes_moved": moved, "precision": 1}
        )
    return table_from_kernels(kernels, SEGMENTS)


def _slots() -> DeviceTable:
    rng = np.random.default_rng(1)
    chips = [
        {"peak_flops": 1e14 * factor, "peak_bw": 1e12 * factor, "mem_gb": 24, "area_mm2": 600, "tdp_w": 350}
        for factor in rng.uniform(0.2, 3.0, SLOTS)
    ]
    return devices_from_chips(chips)


def _repeat_difference(config: ProxyConfig) -> float:
    """Two short fits with one seed must agree to the last bit."""
    torch.set_num_threads(config.threads)
    measured = read_measured(str(config.data.layer_latency), str(config.data.devices))
    short = config.fit.model_copy(update={"epochs": 1, "members": 1, "rows_per_group": 300})
    allowed = torch.ones(len(measured), dtype=torch.bool)
    rows = torch.arange(0, len(measured), 100)
    first, second = (predict_rows(fit_proxy(measured, allowed, short, seed=0), measured, rows) for _ in range(2))
    return float((first - second).abs().max())


def _print_tables(folder: Path) -> None:
    table = read_parquet(folder / "transfer.parquet")
    shown = table[table.layer_type == "all"].pivot(index="device", columns="method", values=["median_ape", "mape"])
    coverage = read_parquet(folder / "coverage.parquet").set_index("device").coverage
    with pd.option_context("display.width", 200, "display.max_columns", 20):
        print("\nerror on the left-out device, % (median_ape, mape), by method")
        print(shown.round(1).to_string())
        print("\nshare of each left-out device's rows inside the 90 % interval")
        print(coverage.round(2).to_string())
        print("\nheld-out shapes of known devices")
        print(read_parquet(folder / "shapes.parquet").round(3).to_string(index=False))


if __name__ == "__main__":
    sys.exit(exit_code(main))
