"""Measured tables as the fits read them: rows with their kernels, devices and latencies, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..artifacts import read_parquet
from ..errors import DataError
from .device_table import DeviceTable, devices_from_frame
from .layer_frame import layers_from_frame
from .layer_table import COMPOSITE_KINDS, LayerTable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class MeasuredTable:
    """N measured rows.

    Attributes:
        frame: the rows as read, index 0 .. N - 1.
        layers: their kernels; layer i is row i.
        devices: every device of the device file.
        device: device of each row.
        latency_ms: of each row.
        sources: names of the measurement sources.
        group: number of each row's (device, layer type, precision).
    """

    frame: pd.DataFrame
    layers: LayerTable
    devices: DeviceTable
    device: Int[Tensor, " N"]
    latency_ms: Float[Tensor, " N"]
    sources: tuple[str, ...]
    group: Int[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.frame)

    def measured_devices(self) -> list[str]:
        """Names of the devices that have rows."""
        return [self.devices.names[place] for place in sorted(set(self.device.tolist()))]


def read_devices(path: Path | str) -> DeviceTable:
    """The devices of a CSV file.

    Raises:
        DataError: the file is missing or unusable.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file (resolved: {Path(path).resolve()})") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable CSV table ({error})") from error
    return devices_from_frame(table, str(path))


def read_measured(layers: Path | str, devices: Path | str) -> MeasuredTable:
    """Read and check a table of measured layers and its devices.

    Raises:
        DataError: a file or column is missing, a latency is not positive, a device has no row of specs.
    """
    frame = read_parquet(layers, ("device", "layer_type", "precision", "latency_ms"))
    return measured_from_frame(frame, read_devices(devices), str(layers), str(devices))


def measured_from_frame(
    frame: pd.DataFrame, devices: DeviceTable, table: str, device_file: str = "devices"
) -> MeasuredTable:
    """The same from tables in memory.

    Rows of whole transformer layers (`embed attention mlp head block`) come along; the fit of kernels leaves them out.
    """
    frame = plain_text(frame).reset_index(drop=True)
    check_latencies(frame, table)
    sources = tuple(sorted(frame.source.unique())) if "source" in frame else ("measured",)
    if "source" not in frame:
        frame = frame.assign(source="measured")
    layers = layers_from_frame(frame, table=table, sources=sources)
    return MeasuredTable(
        frame=frame,
        layers=layers,
        devices=devices,
        device=device_places(frame, devices, table, device_file),
        latency_ms=torch.tensor(frame.latency_ms.to_numpy(dtype=np.float32, copy=True)),
        sources=sources,
        group=torch.tensor(frame.groupby(["device", "layer_type", "precision"]).ngroup().to_numpy()),
    )


def plain_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as plain text, so that a group without rows is not a group."""
    names = [name for name in ("source", "device", "layer_type", "op", "part", "shape_id") if name in frame]
    return frame.assign(**{name: frame[name].astype(str) for name in names})


def check_latencies(frame: pd.DataFrame, table: str) -> None:
    """Refuse latencies that cannot be.

    Raises:
        DataError: no rows, or a latency that is NaN, zero or negative.
    """
    if not len(frame):
        raise DataError(f"{table}: holds no rows; give at least one measured layer")
    latency = frame.latency_ms.to_numpy(dtype=float, na_value=np.nan)
    wrong = np.flatnonzero(~(np.isfinite(latency) & (latency > 0.0)))
    if len(wrong):
        raise DataError(
            f"{table}: {len(wrong)} of {len(frame)} rows have no positive latency_ms; "
            f"the first is row {frame.index[wrong[0]]}: latency_ms={latency[wrong[0]]:g}; drop or mend them"
        )


def device_places(frame: pd.DataFrame, devices: DeviceTable, table: str, device_file: str) -> Int[Tensor, " N"]:
    """Place of each row's device in the device table.

    Raises:
        DataError: a device without a row of specs.
    """
    places = {name: place for place, name in enumerate(devices.names)}
    names = frame.device.astype(str)
    unknown = sorted(set(names) - set(places))
    if unknown:
        raise DataError(
            f"{table}: device {unknown[0]} has no row in {device_file} (it has {', '.join(devices.names)}); "
            "add its specs or drop its rows"
        )
    return torch.tensor([places[name] for name in names])


def kernel_rows(measured: MeasuredTable) -> Bool[Tensor, " N"]:
    """Rows that are one kernel."""
    return torch.tensor(~measured.frame.layer_type.isin(COMPOSITE_KINDS).to_numpy())


def sample_rows(
    measured: MeasuredTable, allowed: Bool[Tensor, " N"], rows_per_group: int, seed: int
) -> Int[Tensor, " n"]:
    """At most `rows_per_group` allowed rows of each (device, layer type, precision), drawn at random, in order."""
    order = torch.randperm(len(measured), generator=torch.Generator().manual_seed(seed))
    order = order[allowed[order]]
    groups = measured.group[order]
    by_group = torch.argsort(groups, stable=True)
    sizes = torch.bincount(groups)
    rank = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[groups[by_group]]
    return torch.sort(order[by_group[rank < rows_per_group]]).values
