"""Devices and chips as the proxies read them: one row of tensors per device.

A chip-library entry (spec §8.1) knows a peak, a bandwidth, memory, size and power. What else a predictor can use has
a stated fallback here, so that a chip needs no more than the spec's fields:

- one peak for every precision where only `peak_flops` is given; the vector peak is a sixteenth of the fp16 peak
  where no fp32 peak is known;
- compute units (`num_sm`) by die area, 7.5 mm² each, the median of the real chips;
- last-level cache of 0.05 MB per mm² of die, clock of 1.5 GHz;
- idle power of 15 % of the thermal design power;
- the year 2022, and TF32 convolutions only where vendor and year say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import DataError
from .layer_table import Number, stack

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("peak_bw", "mem_gb", "tdp_w")
AREA_PER_UNIT_MM2 = 7.5
CACHE_MB_PER_MM2 = 0.05
CLOCK_MHZ = 1500.0
IDLE_SHARE = 0.15
VECTOR_SHARE = 1.0 / 16.0
TYPICAL_AREA_MM2 = 600.0
FIRST_TF32_YEAR = 2020
TYPICAL_YEAR = 2022


@dataclass(frozen=True)
class DeviceTable:
    """T devices; every tensor may carry gradients (effective specs of a mixture of chips).

    Attributes:
        names: one per device.
        peak_flops_fp32: FLOP/s of fp32 matrix products.
        peak_flops_fp32_vector: FLOP/s outside matrix units.
        peak_flops_fp16: FLOP/s of fp16 or bf16 matrix products.
        peak_bw: bytes/s of device memory.
        mem_gb: device memory.
        num_sm: compute units; `clock_mhz`: their clock; `l2_mb`: last-level cache.
        clock_share: the clock over boost, 1 unless a device is held below it.
        tdp_w: power limit; `idle_w`: power at rest.
        area_mm2: die area.
        year: when it came out; how well a library runs odd shapes is a matter of its generation.
        is_amd, has_tf32: vendor, and whether fp32 convolutions may use TF32 units (NVIDIA since 2020); 0 or 1.
    """

    names: tuple[str, ...]
    peak_flops_fp32: Float[Tensor, " T"]
    peak_flops_fp32_vector: Float[Tensor, " T"]
    peak_flops_fp16: Float[Tensor, " T"]
    peak_bw: Float[Tensor, " T"]
    mem_gb: Float[Tensor, " T"]
    num_sm: Float[Tensor, " T"]
    clock_mhz: Float[Tensor, " T"]
    clock_share: Float[Tensor, " T"]
    l2_mb: Float[Tensor, " T"]
    tdp_w: Float[Tensor, " T"]
    idle_w: Float[Tensor, " T"]
    area_mm2: Float[Tensor, " T"]
    year: Float[Tensor, " T"]
    is_amd: Float[Tensor, " T"]
    has_tf32: Float[Tensor, " T"]

    def __len__(self) -> int:
        return len(self.names)

    def select(self, positions: Int[Tensor, " P"] | Sequence[int]) -> DeviceTable:
        """The devices at the given positions, which may repeat."""
        index = torch.as_tensor(positions, dtype=torch.long)
        chosen = {field.name: getattr(self, field.name)[index] for field in fields(self) if field.name != "names"}
        return DeviceTable(names=tuple(self.names[position] for position in index.tolist()), **chosen)

    def to(self, dtype: torch.dtype) -> DeviceTable:
        """The same devices in another floating-point type."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "names"}
        return DeviceTable(
            names=self.names,
            **{name: value.to(dtype) if value.is_floating_point() else value for name, value in values.items()},
        )


def devices_from_frame(table: pd.DataFrame, source: str = "devices") -> DeviceTable:
    """Devices of a table in the format of the reference `devices.csv`.

    Raises:
        DataError: no rows, a name twice, a missing column, or a number that cannot be.
    """
    if "device" not in table.columns:
        raise DataError(f"{source}: lacks the column device; it has {', '.join(map(str, table.columns))}")
    doubled = table.device[table.device.duplicated()]
    if len(doubled):
        raise DataError(f"{source}: the device {doubled.iloc[0]} has two rows; keep one")
    entries = [_known_of({str(key): value for key, value in row.items()}) for row in table.to_dict("records")]
    return _devices([(str(entry["device"]), entry) for entry in entries], source, torch.float32)


def devices_from_chips(
    chips: Sequence[Any], source: str = "chip library", dtype: torch.dtype = torch.float32
) -> DeviceTable:
    """Chips of a library: mappings or objects with the fields of spec §8.1, and any column of `devices.csv` beside.

    `peak_flops` is the peak at the precision the chip is used at; `peak_flops_fp32`, `peak_flops_fp16` override it.
    Values that are tensors (effective specs, live) are not checked and may vanish.

    Raises:
        DataError: no chips, a missing field, or a number that cannot be.
    """
    entries = [_known_of(dict(chip) if isinstance(chip, Mapping) else dict(vars(chip))) for chip in chips]
    live = [value.dtype for entry in entries for value in entry.values() if isinstance(value, Tensor)]
    dtype = live[0] if live else dtype
    return _devices(
        [(str(entry.get("name", position)), entry) for position, entry in enumerate(entries)], source, dtype
    )


def devices_from_specs(specs: Mapping[str, Float[Tensor, " S"]]) -> DeviceTable:
    """Devices from effective specs per slot (spec §8.2), vectors that may carry gradients; nothing is checked.

    Specs may vanish (an empty slot): predictions stay finite.
    """
    number = len(specs["peak_flops"])
    entries = [{name: values[slot] for name, values in specs.items()} for slot in range(number)]
    filled = [_with_fallbacks(entry) for entry in entries]
    return _stacked([str(slot) for slot in range(number)], filled, specs["peak_flops"].dtype)


def _devices(entries: Sequence[tuple[str, dict[str, Any]]], source: str, dtype: torch.dtype) -> DeviceTable:
    if not entries:
        raise DataError(f"{source}: holds no device; give at least one row")
    for name, entry in entries:
        _check(name, entry, source)
    return _stacked([name for name, _ in entries], [_with_fallbacks(entry) for _, entry in entries], dtype)


def _known_of(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without its empty fields."""
    return {
        key: value
        for key, value in entry.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }


def _check(name: str, entry: Mapping[str, Any], source: str) -> None:
    missing = [key for key in REQUIRED if key not in entry]
    peaks = [key for key in ("peak_flops", "peak_flops_fp32", "peak_flops_fp16") if key in entry]
    if not peaks:
        missing.append("peak_flops (or peak_flops_fp32, peak_flops_fp16)")
    if missing:
        raise DataError(f"{source}: {name} lacks {', '.join(missing)}")
    optional = ("num_sm", "boost_mhz", "l2_mb", "area_mm2", "peak_flops_fp32_vector")
    given = (*REQUIRED, *peaks, *(key for key in optional if entry.get(key) is not None))
    for key in (key for key in given if not isinstance(entry[key], Tensor)):
        value = float(entry[key])
        if not math.isfinite(value) or value <= 0.0:
            raise DataError(f"{source}: {name}: {key}={entry[key]}: must be a positive number")
    if (
        "idle_w" in entry
        and not isinstance(entry["idle_w"], Tensor)
        and not 0.0 <= float(entry["idle_w"]) <= float(entry["tdp_w"])
    ):
        raise DataError(f"{source}: {name}: idle_w={entry['idle_w']}: must lie between 0 and tdp_w={entry['tdp_w']}")


def _with_fallbacks(entry: Mapping[str, Any]) -> dict[str, Number]:
    peak = entry.get("peak_flops", entry.get("peak_flops_fp16", entry.get("peak_flops_fp32")))
    fp16: Any = entry.get("peak_flops_fp16", peak)
    fp32: Any = entry.get("peak_flops_fp32", peak)
    vector: Any = entry.get("peak_flops_fp32_vector", entry.get("peak_flops_fp32", VECTOR_SHARE * fp16))
    area: Any = entry.get("area_mm2", TYPICAL_AREA_MM2)
    tdp: Any = entry["tdp_w"]
    return {
        "peak_flops_fp32": fp32,
        "peak_flops_fp32_vector": vector,
        "peak_flops_fp16": fp16,
        "peak_bw": entry["peak_bw"],
        "mem_gb": entry["mem_gb"],
        "num_sm": entry.get("num_sm", area / AREA_PER_UNIT_MM2),
        "clock_mhz": entry.get("boost_mhz", CLOCK_MHZ),
        "clock_share": 1.0,
        "l2_mb": entry.get("l2_mb", area * CACHE_MB_PER_MM2),
        "tdp_w": tdp,
        "idle_w": entry.get("idle_w", IDLE_SHARE * tdp),
        "area_mm2": area,
        "year": entry.get("year", TYPICAL_YEAR),
        "is_amd": float(entry.get("vendor") == "AMD"),
        "has_tf32": float(entry.get("vendor") == "NVIDIA" and float(entry.get("year", 0)) >= FIRST_TF32_YEAR),
    }


def _stacked(names: Sequence[str], rows: Sequence[Mapping[str, Number]], dtype: torch.dtype) -> DeviceTable:
    columns = {field.name for field in fields(DeviceTable)} - {"names"}
    values = {column: stack([row[column] for row in rows], dtype) for column in columns}
    return DeviceTable(names=tuple(names), **values)
