"""This machine as one more device: its kernels, layers, peak and bandwidth measured, in a measured table's format.

Every row is the median of many runs after a warm-up; a row whose spread is too wide is measured again, and after that
dropped into `rejected.parquet` with the reason. Activation peaks are counted, not sampled, and repeat exactly.
Energy is what the processor's own counter says (RAPL), and empty where it cannot be read.
"""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

from ..artifacts import atomic_path, write_json, write_parquet
from ..errors import ConfigError
from ..progress import with_progress
from .kernel_shapes import NUMBER_BYTES, kernel_shapes
from .layer_kernels import kernels_of_layer
from .operations import Operation, activation_peaks_bytes, kernel_operation, layer_operation
from .timing import Timing, measure, package_energy_j

HOST = "host"
MAX_SPREAD = 0.15
TRIES = 2


@dataclass(frozen=True)
class GridSize:
    """How much is measured: kernels, layers, the FLOPs of the largest, and repeats and seconds of each."""

    kernels: int
    layers: int
    max_flops: float
    repeats: int
    seconds: float


GRIDS: dict[str, GridSize] = {
    "tiny": GridSize(kernels=24, layers=8, max_flops=5e7, repeats=5, seconds=0.01),
    "small": GridSize(kernels=70, layers=20, max_flops=4e8, repeats=20, seconds=0.05),
    "full": GridSize(kernels=400, layers=96, max_flops=2e10, repeats=20, seconds=0.3),
}
LARGEST_BYTES = 1.0e8
EMULATED_SHARE = 0.1
LAYER_KINDS = ("embed", "attention", "mlp", "block")


@dataclass(frozen=True)
class Measured:
    """What measuring needs to know: the device, how often, and the energy counter's folder."""

    device: torch.device
    size: GridSize

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def time(self, operation: Operation) -> Timing:
        """The better of two measurements: the first if its spread is narrow enough."""
        tries: list[Timing] = []
        while len(tries) < TRIES and not (tries and tries[-1].spread <= MAX_SPREAD):
            tries.append(
                measure(
                    operation,
                    self.synchronise,
                    repeats=self.size.repeats,
                    seconds=self.size.seconds,
                    energy_j=package_energy_j if self.device.type == "cpu" else lambda: None,
                )
            )
        return min(tries, key=lambda timing: timing.spread)


def profile_host(
    out: Path, *, grid: str = "small", threads: int | None = None, device: str = "cpu", seed: int = 0
) -> None:
    """Measure this machine; write `layers.parquet`, `rejected.parquet`, `devices.csv` and `profile.json` under `out`.

    Args:
        grid: how many shapes and repeats: seconds, half a minute, or minutes.
        threads: CPU threads; None takes all cores.
        device: `cpu` or `cuda`.

    Raises:
        ConfigError: an unknown grid, or a device that is not there.
    """
    if grid not in GRIDS:
        raise ConfigError(f"grid={grid}: choose from {', '.join(GRIDS)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: there is no CUDA device; use --device cpu")
    threads = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    load_before = os.getloadavg()[0]
    setting = Measured(torch.device(device), GRIDS[grid])
    with torch.inference_mode():
        specs = device_specs(setting)
        precisions = profiled_precisions(specs["peak_flops_fp32"], specs["peak_flops_fp16"])
        shapes = kernel_shapes(
            setting.size.kernels,
            seed,
            max_flops=setting.size.max_flops,
            max_bytes=LARGEST_BYTES,
            precisions=precisions,
        )
        rows = [*_kernel_rows(shapes), *layer_rows(setting.size, precisions)]
        measured = [*_measure(rows, setting, out)]
    table = pd.DataFrame(measured).assign(device=specs["device"], source=HOST, part="measured", threads=threads)
    reasons = table.pop("reason")
    write_parquet(out / "layers.parquet", table[reasons == ""].reset_index(drop=True))
    write_parquet(out / "rejected.parquet", table.assign(reason=reasons)[reasons != ""].reset_index(drop=True))
    with atomic_path(out / "devices.csv") as temporary:
        pd.DataFrame([specs]).to_csv(temporary, index=False)
    write_json(out / "profile.json", _circumstances(table, reasons, specs, threads, load_before, grid))


def _kernel_rows(shapes: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(name): value for name, value in row.items() if value is not pd.NA} for row in shapes.to_dict("records")
    ]


def profiled_precisions(peak_flops_fp32: float, peak_flops_fp16: float) -> tuple[int, ...]:
    """Both, or fp32 alone on a processor that only emulates 16-bit products: they would take minutes."""
    return (0, 1) if peak_flops_fp16 >= EMULATED_SHARE * peak_flops_fp32 else (0,)


def layer_rows(size: GridSize, precisions: tuple[int, ...] = (0, 1)) -> list[dict[str, Any]]:
    """Embeddings, attentions, MLPs and blocks, as many of each, from small to large."""
    chosen = []
    for kind in LAYER_KINDS:
        rows = [row for row in _layer_grid(kind, precisions) if row["flops"] <= size.max_flops]
        rows = sorted((row for row in rows if row["bytes"] <= LARGEST_BYTES), key=lambda row: row["flops"])
        places = np.unique(np.linspace(0, len(rows) - 1, size.layers // len(LAYER_KINDS)).round().astype(int))
        chosen += [rows[place] for place in places]
    return chosen


def _layer_grid(kind: str, precisions: tuple[int, ...]) -> list[dict[str, Any]]:
    return [
        layer_row(kind, batch, tokens, width, max(1, width // 64), ratio, precision)
        for batch, tokens, width in itertools.product((1, 4, 8), (49, 196, 392, 784, 1569), (96, 192, 384, 768))
        for ratio, precision in ((2.0, 0), (4.0, 0), (4.0, 1))
        if precision in precisions
    ]


def layer_row(
    kind: str, batch: int, tokens: int, width: int, heads: int, mlp_ratio: float, precision: int
) -> dict[str, Any]:
    """One transformer layer as a row of a measured table, without what is measured."""
    vectors, hidden = batch * tokens, mlp_ratio * width
    products = {
        "embed": 2.0 * vectors * 768 * width,
        "attention": vectors * (8.0 * width**2 + 4.0 * tokens * width),
        "mlp": 4.0 * vectors * width * hidden,
    }
    products["block"] = products["attention"] + products["mlp"]
    shape = {"B": batch, "seq_len": tokens, "embed_dim": width, "num_heads": heads, "mlp_ratio": mlp_ratio}
    row = {"layer_type": kind, "op": kind, "precision": precision, "flops": products[kind], **shape}
    return {**row, "bytes": layer_bytes(row), "weight_bytes": _summed(row, "weight_bytes")}


def layer_bytes(row: Mapping[str, Any]) -> float:
    """Bytes its kernels move, each operand once."""
    return _summed(row, "bytes_moved")


@dataclass(frozen=True)
class _Cost:
    """A transformer layer in the shape of a `LayerCost`."""

    kind: str
    flops: float
    seq_len: float
    num_heads: float
    mlp_ratio: float
    embed_dim: int
    bytes_weights: float = 0.0
    bytes_activations: float = 0.0


def _summed(row: Mapping[str, Any], name: str) -> float:
    sizes = {name: float(row[name]) for name in ("flops", "seq_len", "num_heads", "mlp_ratio")}
    cost = _Cost(kind=row["layer_type"], embed_dim=int(row["embed_dim"]), **sizes)
    kernels = kernels_of_layer(cost, row["B"], NUMBER_BYTES[row["precision"]])
    return float(sum(kernel.get(name, 0.0) for kernel in kernels))


def _measure(rows: list[dict[str, Any]], setting: Measured, out: Path) -> Iterable[dict[str, Any]]:
    """Each row with what was measured of it, and why it is to be dropped, if it is."""
    layers = [row for row in rows if "seq_len" in row]
    peaks = activation_peaks_bytes([layer_operation(row, setting.device) for row in layers], setting.device)
    peak_of = {id(row): peak for row, peak in zip(layers, peaks, strict=True)}
    for row in with_progress(rows, HOST, "profile", out / "progress.json"):
        maker = layer_operation if "seq_len" in row else kernel_operation
        timing = setting.time(maker(row, setting.device))
        wide = timing.spread > MAX_SPREAD
        peak = peak_of.get(id(row))
        yield {
            **row,
            "latency_ms": timing.median_ms,
            "lat_min_ms": timing.lowest_ms,
            "lat_max_ms": timing.highest_ms,
            "latency_iqr_ms": timing.iqr_ms,
            "n_rep": timing.repeats,
            "activation_peak_mb": np.nan if peak is None else peak / 1e6,
            "mem_mb": np.nan if peak is None else (peak + row["weight_bytes"]) / 1e6,
            "energy_j": np.nan if timing.energy_j is None else timing.energy_j,
            "power_w": np.nan if timing.energy_j is None else 1e3 * timing.energy_j / timing.median_ms,
            "reason": f"spread {timing.spread:.0%} of the median in {TRIES} tries" if wide else "",
        }


def device_specs(setting: Measured) -> dict[str, Any]:
    """The machine as a row of a device table: peaks and bandwidth measured, what is not known left out."""
    name, units, memory_gb = _identity(setting.device)
    specs = {
        "device": name,
        "vendor": platform.processor() or platform.machine(),
        "peak_flops_fp32": peak_flops(setting, torch.float32, 1024),
        "peak_flops_fp16": peak_flops(setting, torch.bfloat16, 1024 if setting.device.type == "cuda" else 128),
        "peak_bw": peak_bandwidth(setting),
        "mem_gb": memory_gb,
        "num_sm": units,
        # No power limit is published for a virtual machine; 15 W a core is a server part's usual share.
        "tdp_w": 15.0 * units if setting.device.type == "cpu" else 300.0,
        "src_perf": "measured: the best of large matrix products and of a large copy",
        "src_tdp": "assumed",
    }
    return {**specs, "peak_flops_fp32_vector": specs["peak_flops_fp32"]}


def _identity(device: torch.device) -> tuple[str, int, float]:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return properties.name, properties.multi_processor_count, properties.total_memory / 1e9
    return f"{HOST}-cpu", torch.get_num_threads(), psutil.virtual_memory().total / 1e9


def peak_flops(setting: Measured, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of the fastest of several products of two square matrices."""
    left, right = (torch.randn(size, size, device=setting.device).to(dtype) for _ in range(2))
    timing = setting.time(lambda: left @ right)
    return 2.0 * size**3 / (1e-3 * timing.lowest_ms)


def peak_bandwidth(setting: Measured, megabytes: int = 160) -> float:
    """Bytes/s read and written by the fastest of several copies, of far more than any cache holds."""
    source = torch.zeros(megabytes * 250_000, dtype=torch.float32, device=setting.device)
    target = torch.empty_like(source)
    timing = setting.time(lambda: target.copy_(source))
    return 2.0 * source.numel() * 4 / (1e-3 * timing.lowest_ms)


def _circumstances(
    table: pd.DataFrame, reasons: pd.Series, specs: dict[str, Any], threads: int, load: float, grid: str
) -> dict[str, Any]:
    return {
        "device": specs["device"],
        "grid": grid,
        "threads": threads,
        "load_average_before": round(load, 2),
        "rows": int((reasons == "").sum()),
        "rejected": int((reasons != "").sum()),
        "peak_flops_fp32": specs["peak_flops_fp32"],
        "peak_flops_fp16": specs["peak_flops_fp16"],
        "peak_bw": specs["peak_bw"],
        "precisions": "fp32 and bf16" if (table["precision"] == 1).any() else "fp32; bf16 products are emulated here",
        "energy": "RAPL" if table["energy_j"].notna().any() else "not readable",
        "torch": torch.__version__,
    }
