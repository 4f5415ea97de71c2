"""What finished networks cost on chips, predicted, and on this machine, predicted and measured.

A design is a run folder's `design.json`: what its network keeps, per block. Nothing is trained or loaded here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..artifacts import read_json, read_parquet, write_parquet
from ..config.chips import ChipType
from ..config.hardware import WorkloadConfig
from ..errors import DataError
from .chip_library import load_chip_library
from .device_table import DeviceTable, devices_from_chips, devices_from_frame
from .layer_frame import layers_from_frame
from .measure_designs import measure_designs
from .roofline_proxy import RooflineProxy, calibrated_roofline
from .workload import KeepRatios, ratios_from_shape, workload_costs

USABLE_MEMORY_SHARE = 0.9
SETTINGS = {"latency": WorkloadConfig(batch=1), "throughput": WorkloadConfig()}
# Small enough to be measured on a CPU, with six heads so that shares of two, three or six heads are exact.
HOST_WORKLOAD = WorkloadConfig(img=112, frames=8, dim=192, heads=6, batch=1, precision="fp32")
KNOBS = ("tokens", "heads", "channels", "blocks")


def predict_hardware(
    designs: Mapping[str, Path],
    out: Path,
    *,
    profile: Path,
    library: str = "default",
    proxy: Any = None,
    repeats: int = 20,
) -> None:
    """Write `predictions.parquet`, `knobs.parquet`, `host.parquet` and `host_layers.parquet` under `out`.

    Args:
        designs: `design.json` by name of the run, e.g. `EXP-P1V-3-ast-no-hw/seed0`.
        profile: the folder that `profile_host` wrote on this machine.
        library: chips to predict for.
        proxy: what predicts; the roofline if None.
        repeats: interleaved runs of each design on this machine.

    Raises:
        DataError: a design or the profile is missing or damaged.
        ConfigError: an unknown library.
    """
    ratios = {name: read_design(path) for name, path in designs.items()}
    chips = load_chip_library().select(library)
    priced = RooflineProxy() if proxy is None else proxy
    predictions = [
        {"run": name, "setting": setting, **row}
        for name, keep in ratios.items()
        for setting, workload in SETTINGS.items()
        for row in price(workload, keep, chips, priced)
    ]
    write_parquet(out / "predictions.parquet", pd.DataFrame(predictions))
    write_parquet(out / "knobs.parquet", knob_table(ratios, chips, priced))
    device = devices_from_frame(_read_devices(profile), str(profile / "devices.csv"))
    measured = read_parquet(profile / "layers.parquet", ("layer_type", "latency_ms", "precision"))
    host = calibrated_roofline(measured, device)
    write_parquet(out / "host_layers.parquet", host_layers(measured, device, host))
    threads = int(read_json(profile / "profile.json")["threads"])
    table = measure_designs(ratios, HOST_WORKLOAD, threads=threads, repeats=repeats)
    table["predicted_ms"] = [_latency_ms(HOST_WORKLOAD, keep, device, host) for keep in ratios.values()]
    write_parquet(out / "host.parquet", table)


def read_design(path: Path) -> KeepRatios:
    """The keep ratios of a `design.json`.

    Raises:
        DataError: the file is missing, or holds no ratios.
    """
    design = read_json(path)
    if not isinstance(design, dict) or not isinstance(design.get("keep"), dict):
        raise DataError(f"{path}: is no design; it needs the key keep")
    try:
        return ratios_from_shape(design["keep"])
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def price(workload: WorkloadConfig, keep: KeepRatios, chips: Sequence[ChipType], proxy: Any) -> list[dict[str, Any]]:
    """Latency, energy and memory of one batch on each chip alone, and whether it fits."""
    costs = workload_costs(workload, keep)
    kernels = costs.kernels.with_layers(torch.zeros_like(costs.kernels.layer), 1)
    with torch.no_grad():
        predicted = proxy.predict_segments(kernels, devices_from_chips([chip.specs() for chip in chips]))
    held = max(float(layer.bytes_resident) for layer in costs.layers)
    memory_mb = (sum(float(layer.bytes_weights) for layer in costs.layers) + held) / 1e6
    flops = float((kernels.count * kernels.flops).sum())
    return [
        {
            "chip": chip.name,
            "latency_ms": latency_ms,
            "energy_j": 1e-3 * latency_ms * power_w,
            "memory_mb": memory_mb,
            "fits": memory_mb <= 1e3 * USABLE_MEMORY_SHARE * chip.mem_gb,
            "flops": flops,
        }
        for chip, latency_ms, power_w in zip(
            chips, predicted["lat_ms"][0].tolist(), predicted["power_w"][0].tolist(), strict=True
        )
    ]


def knob_table(ratios: Mapping[str, KeepRatios], chips: Sequence[ChipType], proxy: Any) -> pd.DataFrame:
    """How far each knob lowers the latency: dense, then tokens, heads, channels and blocks one after the other."""
    rows = []
    for (name, keep), (setting, workload) in itertools.product(ratios.items(), SETTINGS.items()):
        for knob, partial in [
            ("dense", _only(keep, ())),
            *((k, _only(keep, KNOBS[: n + 1])) for n, k in enumerate(KNOBS)),
        ]:
            for row in price(workload, partial, chips, proxy):
                shown = {key: row[key] for key in ("chip", "latency_ms", "flops")}
                rows.append({"run": name, "setting": setting, "knob": knob, **shown})
    return pd.DataFrame(rows)


def _only(keep: KeepRatios, knobs: Sequence[str]) -> KeepRatios:
    """The ratios with all other knobs left at one."""
    ones = torch.ones_like(keep.tokens)
    kept = {name: getattr(keep, name) if name in knobs else ones for name in ("tokens", "heads", "channels")}
    blocks = {name: getattr(keep, name) if "blocks" in knobs else ones for name in ("attention", "mlp")}
    return replace(keep, **kept, **blocks)


def host_layers(measured: pd.DataFrame, device: DeviceTable, proxy: RooflineProxy) -> pd.DataFrame:
    """Every measured row of this machine beside its prediction; whole layers were not used to calibrate."""
    table = layers_from_frame(measured)
    with torch.no_grad():
        predicted = proxy.predict_segments(table, device)["lat_ms"][:, 0]
    shown = [
        name for name in ("layer_type", "op", "precision", "flops", "latency_ms", "latency_iqr_ms") if name in measured
    ]
    return measured[shown].assign(predicted_ms=predicted.numpy())


def _latency_ms(workload: WorkloadConfig, keep: KeepRatios, device: DeviceTable, proxy: RooflineProxy) -> float:
    kernels = workload_costs(workload, keep).kernels
    with torch.no_grad():
        whole = kernels.with_layers(torch.zeros_like(kernels.layer), 1)
        return proxy.predict_segments(whole, device)["lat_ms"].item()


def _read_devices(profile: Path) -> pd.DataFrame:
    path = profile / "devices.csv"
    if not path.is_file():
        raise DataError(f"{path}: no such file; run python -m scripts.profile_host --out {profile}")
    return pd.read_csv(path)
