"""A table of layers that nobody measured: a roofline with fixed efficiencies, for chips that cannot be measured here.

It has the format of a measured table and says `modelled` in its columns `source` and `part`. A proxy fitted on it can
be no better than these formulas; it exists so that the workflow runs where no measurements are at hand.

    latency = max(flops / (u · peak), bytes / (0.8 · bandwidth)) + 6 µs
    power   = idle + (TDP - idle) · min(1, 0.7 · a · share of time at the peak + 0.3 · share of time at the bandwidth)
    memory  = weights + inputs and outputs

with u = 0.65, a = 1 in matrix products and u = 0.45, a = 0.8 in fused attention;
maps, norms and softmax count as bytes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from ..artifacts import atomic_path, write_parquet
from ..config.chips import ChipType
from .kernel_shapes import NUMBER_BYTES, kernel_shapes

MODELLED = "modelled"
EFFICIENCY = {"linear": 0.65, "matmul_batched": 0.65, "sdpa": 0.45}
BANDWIDTH_EFFICIENCY = 0.8
LAUNCH_MS = 0.006
COMPUTE_POWER, MEMORY_POWER, ATTENTION_POWER = 0.7, 0.3, 0.8
SPEC_COLUMNS = ("peak_flops_fp32", "peak_flops_fp32_vector", "peak_bw", "mem_gb", "num_sm", "boost_mhz", "l2_mb")
SIZE_COLUMNS = ("area_mm2", "width_mm", "height_mm", "tdp_w", "idle_w")


def make_modelled_table(chips: Sequence[ChipType], out: Path, count: int, seed: int = 0) -> None:
    """Write `layers.parquet` (about `count` rows per chip) and `devices.csv` under `out`."""
    shapes = kernel_shapes(count, seed)
    write_parquet(
        out / "layers.parquet", pd.concat([modelled_layers(shapes, chip) for chip in chips], ignore_index=True)
    )
    with atomic_path(out / "devices.csv") as temporary:
        device_rows(chips).to_csv(temporary, index=False)


def device_rows(chips: Sequence[ChipType]) -> pd.DataFrame:
    """Chips as rows of a `devices.csv`; what is not known stays empty."""
    rows = []
    for chip in chips:
        specs = {name: getattr(chip, name) for name in (*SPEC_COLUMNS, *SIZE_COLUMNS)}
        rows.append(
            {
                "device": chip.name,
                "chip": chip.device,
                "vendor": chip.vendor,
                "peak_flops_fp16": chip.peak_flops,
                **specs,
            }
        )
    return pd.DataFrame(rows)


def modelled_layers(shapes: pd.DataFrame, chip: ChipType) -> pd.DataFrame:
    """The shapes with what the formulas above say of them on one chip, in the columns of a measured table."""
    compute_ms, memory_ms = busy_ms(shapes, chip)
    latency_ms = np.maximum(compute_ms, memory_ms) + LAUNCH_MS
    attention = np.where(shapes.layer_type == "sdpa", ATTENTION_POWER, 1.0)
    use = COMPUTE_POWER * attention * compute_ms / latency_ms + MEMORY_POWER * memory_ms / latency_ms
    idle_w = float(chip.idle_w or 0.0)
    return shapes.assign(
        source=MODELLED,
        part=MODELLED,
        device=chip.name,
        latency_ms=latency_ms,
        power_w=idle_w + (chip.tdp_w - idle_w) * np.minimum(1.0, use),
        mem_mb=memory_mb(shapes),
    )


def busy_ms(shapes: pd.DataFrame, chip: ChipType) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """Time of each row at the chip's achievable peak, and at its achievable bandwidth."""
    fp32 = chip.peak_flops_fp32 or chip.peak_flops
    peak = np.where(shapes.precision == 0, fp32, chip.peak_flops)
    efficiency = shapes.layer_type.map(EFFICIENCY).to_numpy(dtype=float)
    compute_ms = 1e3 * shapes.flops.to_numpy() / (np.nan_to_num(efficiency, nan=np.inf) * peak)
    return compute_ms, 1e3 * shapes.bytes.to_numpy() / (BANDWIDTH_EFFICIENCY * chip.peak_bw)


def memory_mb(shapes: pd.DataFrame) -> Float[np.ndarray, " R"]:
    """What a launch holds: its weights, inputs and outputs, each once; an in-place sum holds two of its three."""
    held = shapes.bytes.to_numpy() * np.where(shapes.op == "add", 2.0 / 3.0, 1.0)
    norms = np.where(shapes.layer_type == "layernorm", 2.0, 0.0) * shapes.H.fillna(0).to_numpy(dtype=float)
    return (held + norms * shapes.precision.map(NUMBER_BYTES).to_numpy(dtype=float)) / 1e6
