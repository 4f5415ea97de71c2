"""Models as lists of kernels: reading them, and the latency and power of whole models measured end to end.

A list names each kernel's kind, sizes, FLOPs, bytes and how often it runs. Measured models say which list they ran, at
which precision and clock; a device at a fixed clock is the device with its compute peaks in proportion (`roofline` has
what else follows the clock).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..artifacts import read_parquet
from ..errors import DataError
from .device_table import DeviceTable
from .layer_table import UNKNOWN_SOURCE, LayerTable, table_from_kernels
from .measured_table import device_places

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "gemm": "linear",
    "conv2d": "conv2d",
    "layernorm": "layernorm",
    "softmax": "softmax",
    "elementwise": "elementwise",
}
KERNEL_COLUMNS = ("workload", "kind", "op", "batch", "M", "N", "K", "prec", "flops", "bytes", "count")
MODEL_COLUMNS = ("device", "prec", "latency_ms", "power_w", "sm_freq_mhz", "workload_key")
ROW_WIDTH = 1024.0


@dataclass(frozen=True)
class MeasuredModels:
    """N end-to-end measurements of models whose kernels are known.

    Attributes:
        frame: the rows as read.
        layers: layer i holds the kernels of row i.
        devices: one per row, at the row's clock.
        launches: kernels launched per row.
        latency_ms, power_w: measured.
    """

    frame: pd.DataFrame
    layers: LayerTable
    devices: DeviceTable
    launches: Float[Tensor, " N"]
    latency_ms: Float[Tensor, " N"]
    power_w: Float[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.frame)


def read_models(models: Path | str, kernels: Path | str, devices: DeviceTable, device_file: str) -> MeasuredModels:
    """Measured models with a kernel list; rows without one are left out (`frame` keeps their absence visible).

    Raises:
        DataError: a file or column is missing, a device has no specs, or no row has a kernel list.
    """
    frame = read_parquet(models, MODEL_COLUMNS)
    lists = read_parquet(kernels, KERNEL_COLUMNS)
    known = frame.workload_key.isin(set(lists.workload)).to_numpy()
    if not known.any():
        raise DataError(f"{models}: no row has its kernels in {kernels}; compare workload_key with workload")
    frame = frame[known].reset_index(drop=True)
    places = device_places(frame, devices, str(models), device_file)
    clock = torch.tensor(frame.sm_freq_mhz.to_numpy(dtype=np.float32, na_value=np.nan))
    boost = devices.clock_mhz[places]
    share = torch.where(torch.isfinite(clock), clock / boost, 1.0).clamp(max=1.0)
    layers = _joined(frame, _tables(frame, lists))
    return MeasuredModels(
        frame=frame,
        layers=layers,
        devices=at_clock(devices.select(places), share),
        launches=torch.zeros(len(frame)).index_add(0, layers.layer, layers.count),
        latency_ms=torch.tensor(frame.latency_ms.to_numpy(dtype=np.float32, copy=True)),
        power_w=torch.tensor(frame.power_w.to_numpy(dtype=np.float32, copy=True)),
    )


def at_clock(devices: DeviceTable, share: Float[Tensor, " T"]) -> DeviceTable:
    """The devices with their clock at a share of boost: compute peaks follow, memory's own bandwidth does not."""
    scaled = ("peak_flops_fp32", "peak_flops_fp32_vector", "peak_flops_fp16", "clock_mhz", "clock_share")
    return replace(devices, **{name: getattr(devices, name) * share for name in scaled})


def list_kernels(rows: pd.DataFrame, precision: int) -> list[dict[str, Any]]:
    """One mapping per kernel of a list, run at the given precision (0 fp32, 1 fp16 or bf16).

    A list is written for bf16; in fp32 its bf16 kernels move twice the bytes and its type casts fall away.

    Raises:
        DataError: an unknown kind.
    """
    return [
        _kernel(row, precision)
        for row in rows.to_dict("records")
        if precision == 1 or not str(row["op"]).startswith("typecast")
    ]


def _tables(frame: pd.DataFrame, lists: pd.DataFrame) -> dict[tuple[str, int], LayerTable]:
    by_workload = dict(list(lists.groupby("workload", observed=True)))
    wanted = {(str(key), int(prec != "fp32")) for key, prec in zip(frame.workload_key, frame.prec, strict=True)}
    return {
        (key, precision): table_from_kernels(list_kernels(by_workload[key], precision), 1)
        for key, precision in sorted(wanted)
    }


def _joined(frame: pd.DataFrame, tables: dict[tuple[str, int], LayerTable]) -> LayerTable:
    from .layer_table import join_tables

    return join_tables(
        [tables[str(key), int(prec != "fp32")] for key, prec in zip(frame.workload_key, frame.prec, strict=True)]
    )


def _kernel(row: dict[Any, Any], precision: int) -> dict[str, Any]:
    if row["kind"] not in KINDS:
        raise DataError(f"kernel list {row['workload']}: unknown kind '{row['kind']}'; known are {', '.join(KINDS)}")
    own = int(row["prec"] != "fp32")
    moved = float(row["bytes"]) * (2.0 if own == 1 and precision == 0 else 1.0)
    kernel = {
        "layer": 0,
        "kind": KINDS[row["kind"]],
        "precision": min(own, precision),
        "source": UNKNOWN_SOURCE,
        "count": float(row["count"]),
        "flops": float(row["flops"]),
        "bytes_moved": moved,
        "activation_bytes": moved,
    }
    return {**kernel, **_shape(row)}


def _shape(row: dict[Any, Any]) -> dict[str, Any]:
    batch, first = float(row["batch"]), float(row["M"])
    if row["kind"] in ("layernorm", "softmax"):
        return {"rows": batch, "columns": first}
    if row["kind"] == "elementwise":
        return {"rows": max(first * batch / ROW_WIDTH, 1.0), "columns": min(first * batch, ROW_WIDTH)}
    columns, depth = float(row["N"]), float(row["K"])
    if row["kind"] == "conv2d":
        window = next((size for size in (7.0, 5.0, 3.0) if depth % size**2 == 0 and depth > size**2), 1.0)
        return {"rows": batch * first, "columns": columns, "depth": depth, "window": window}
    if batch > 1:
        return {"kind": "matmul_batched", "groups": batch, "rows": first, "columns": columns, "depth": depth}
    # Lists write products column by column: N counts the vectors, M the outputs.
    return {"rows": columns, "columns": first, "depth": depth}


def subset(models: MeasuredModels, rows: Int[Tensor, " n"] | Bool[Tensor, " N"]) -> MeasuredModels:
    """Some of the measurements."""
    places = torch.nonzero(rows)[:, 0] if rows.dtype == torch.bool else rows
    new = torch.full((len(models),), -1)
    new[places] = torch.arange(len(places))
    kept = torch.nonzero(new[models.layers.layer] >= 0)[:, 0]
    layers = models.layers.reordered(kept)
    return MeasuredModels(
        frame=models.frame.iloc[places.numpy()].reset_index(drop=True),
        layers=layers.with_layers(new[layers.layer], len(places)),
        devices=models.devices.select(places),
        launches=models.launches[places],
        latency_ms=models.latency_ms[places],
        power_w=models.power_w[places],
    )
