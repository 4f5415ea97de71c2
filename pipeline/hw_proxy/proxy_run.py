"""The experiments of Phase 0: fit a proxy, judge it on devices it never saw, and write both down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..artifacts import fingerprint, read_parquet, sha256_of_file, write_json, write_parquet, write_yaml
from ..config.proxy import ProxyConfig
from ..errors import ConfigError
from ..progress import Progress, progress_writer
from ..sources import sources_digest
from .intervals import Intervals, fit_intervals
from .kernel_lists import MeasuredModels, read_models, subset
from .layer_hw_proxy import LayerHwProxy
from .measured_table import MeasuredTable, read_measured
from .model_runs import (
    device_folds,
    fit_host_timing,
    fit_power,
    kernel_sums_ms,
    predict_left_out,
    predict_power,
    workload_folds,
)
from .plausibility import implausible
from .proxy_files import load_intervals, load_proxy, read_description, save_proxy
from .proxy_fit import fit_proxy, predict_rows
from .transfer import (
    CALIBRATED,
    PROXY,
    interval_coverage,
    predict_left_out_device,
    random_split_accuracy,
    shape_split,
    summary,
)

Metrics = list[dict[str, Any]]


def run_ms_mem(config: ProxyConfig, out: Path) -> str:
    """Fit latency and memory, judge by leave-one-device-out, and return the line to print.

    Writes `proxy.json`, `model.safetensors` (the proxy), `transfer.parquet` (errors by method, device and layer type),
    `left_out.parquet` (each left-out row), `shapes.parquet` (held-out shapes of known devices), `coverage.parquet`,
    `metrics.parquet`.

    Raises:
        ConfigError: no tables are configured.
        DataError: a table cannot be used.
    """
    torch.set_num_threads(config.threads)
    measured = read_measured(*_tables(config))
    print(f"{len(measured)} rows on {len(measured.measured_devices())} devices", flush=True)
    held_out = shape_split(measured)
    proxy = fit_proxy(measured, ~held_out, config.fit, config.seed)
    shapes = _judge_shapes(proxy, measured, held_out)
    predictions = _left_out(measured, config, out)
    intervals = _intervals(proxy, measured, held_out, predictions, config.evaluation.coverage)
    notes: dict[str, Any] = {"config": config.model_dump(), "devices": measured.measured_devices()}
    if predictions is None:
        notes["transfer"] = "one measured device: transfer to another cannot be assessed"
    save_proxy(out, proxy, intervals, notes)
    write_parquet(out / "shapes.parquet", shapes)
    metrics = [_metric("unseen_shapes", row, shapes.iloc[0]) for row in ("median_ape", "mape", "spearman")]
    if predictions is not None:
        metrics += _write_transfer(predictions, config.evaluation.coverage, out)
    write_parquet(out / "metrics.parquet", pd.DataFrame(metrics))
    write_yaml(out / "config.yaml", config.model_dump())
    return _line(metrics, out)


def _tables(config: ProxyConfig) -> tuple[str, str]:
    layers, devices = config.data.layer_latency, config.data.devices
    if layers is None or devices is None:
        raise ConfigError(
            "data.layer_latency and data.devices are not set: give --set data.layer_latency=FILE.parquet "
            "--set data.devices=FILE.csv; `python -m scripts.profile_host --out DIR` measures this machine"
        )
    return layers, devices


def _judge_shapes(proxy: LayerHwProxy, measured: MeasuredTable, held_out: Tensor) -> pd.DataFrame:
    rows = torch.nonzero(held_out)[:, 0]
    # A handful of rows may hash to no held-out shape at all: then there is only the fit itself to look at.
    return random_split_accuracy(proxy, measured, rows if len(rows) else torch.arange(len(measured)))


def _left_out(measured: MeasuredTable, config: ProxyConfig, out: Path) -> pd.DataFrame | None:
    """Predictions of left-out devices, kept per device so that a stopped run goes on; None with one device.

    Those of other data, settings or code are made anew.
    """
    names = measured.measured_devices()
    if not config.evaluation.leave_one_device_out or len(names) < 2:
        return None
    contents = [sources_digest("pipeline.hw_proxy.transfer"), *(sha256_of_file(path) for path in _tables(config))]
    settings = [config.fit.model_dump(), config.evaluation.model_dump(exclude={"coverage"}), config.seed]
    folder = out / f"left_out_{fingerprint([*contents, *settings])}"
    write = progress_writer(out / "progress.json")
    missing = [name for name in names if not (folder / f"{name}.parquet").is_file()]

    for place, name in enumerate(missing):
        print(f"leaving out {name}", flush=True)
        part = predict_left_out_device(measured, name, config.fit, config.evaluation, config.seed)
        write_parquet(folder / f"{name}.parquet", part)
        write(Progress(out.name, "leave one device out", place + 1, len(missing)))
    return pd.concat([read_parquet(folder / f"{name}.parquet") for name in names], ignore_index=True)


def _intervals(
    proxy: LayerHwProxy, measured: MeasuredTable, held_out: Tensor, predictions: pd.DataFrame | None, coverage: float
) -> dict[str, Intervals]:
    found: dict[str, Intervals] = {}
    rows = torch.nonzero(held_out)[:, 0]
    if len(rows):
        error = (measured.latency_ms[rows].log() - predict_rows(proxy, measured, rows)).double().numpy()
        frame = measured.frame.iloc[rows.numpy()]
        found["known"] = fit_intervals(error, [*frame.device], [*frame.layer_type], coverage)
    if predictions is not None:
        for regime, method in (("unseen", PROXY), ("calibrated", CALIBRATED)):
            usable = predictions[np.isfinite(predictions[method])]
            error = np.log(usable.latency_ms.to_numpy(dtype=float)) - usable[method].to_numpy()
            if len(usable):
                found[regime] = fit_intervals(error, [*usable.device], [*usable.layer_type], coverage)
    return found


def _write_transfer(predictions: pd.DataFrame, coverage: float, out: Path) -> Metrics:
    table = summary(predictions)
    covered = interval_coverage(predictions, PROXY, coverage)
    write_parquet(out / "left_out.parquet", predictions)
    write_parquet(out / "transfer.parquet", table)
    write_parquet(out / "coverage.parquet", covered)
    overall = table[table.layer_type == "all"]
    metrics = []
    for method, rows in overall.groupby("method"):
        means = rows[["median_ape", "mape", "spearman"]].mean()
        metrics += [_metric(f"left_out_device/{method}", name, means) for name in means.index]
        metrics.append(
            {"split": f"left_out_device/{method}", "metric": "worst_mape", "value": rows.mape.max(), "unit": "%"}
        )
    share = float((covered.coverage * covered.rows).sum() / covered.rows.sum())
    metrics.append({"split": "left_out_device/proxy", "metric": "coverage", "value": share, "unit": "share"})
    return metrics


def _metric(split: str, name: str, row: pd.Series) -> dict[str, Any]:
    unit = "rank correlation" if name == "spearman" else "%"
    return {"split": split, "metric": name, "value": float(row[name]), "unit": unit}


def _line(metrics: Metrics, out: Path) -> str:
    values = {(row["split"], row["metric"]): row["value"] for row in metrics}
    parts = [f"unseen shapes {values['unseen_shapes', 'median_ape']:.1f} / {values['unseen_shapes', 'mape']:.1f} %"]
    left_out = values.get(("left_out_device/proxy", "median_ape"))
    if left_out is None:
        parts.append("unseen devices: not assessed (one device, or switched off)")
    else:
        parts.append(f"unseen devices {left_out:.1f} / {values['left_out_device/proxy', 'mape']:.1f} %")
    return f"{', '.join(parts)} (median / mean error) | output {out}"


def run_power(config: ProxyConfig, out: Path, proxy_folder: Path | None = None) -> str:
    """Fit the power formula at predicted latencies, judge it, and return the line to print.

    Writes the proxy with its power formula, `models.parquet` (measured and predicted latency and power of each model
    by fits that left its workload, and its device, out), `rejected.parquet` (rows that cannot be true, and why),
    `metrics.parquet`. Without measured models the formula keeps its round numbers, and the output says so.

    Args:
        proxy_folder: a proxy of `run_ms_mem`; fitted here if None.

    Raises:
        ConfigError, DataError: as `run_ms_mem`.
    """
    torch.set_num_threads(config.threads)
    layers, devices = _tables(config)
    measured = read_measured(layers, devices)
    if proxy_folder is None:
        proxy, intervals, notes = fit_proxy(measured, ~shape_split(measured), config.fit, config.seed), {}, {}
    else:
        proxy, intervals = load_proxy(proxy_folder), load_intervals(proxy_folder)
        notes = read_description(proxy_folder)["notes"]
    metrics: Metrics = []
    if config.data.model_energy is not None and config.data.model_kernels is not None:
        models = read_models(config.data.model_energy, config.data.model_kernels, measured.devices, devices)
        metrics = _fit_and_judge_power(proxy, models, out)
    notes = {**notes, "power": "fitted" if metrics else "round numbers: no measured models were given"}
    save_proxy(out, proxy, intervals, notes)
    write_parquet(out / "metrics.parquet", pd.DataFrame(metrics, columns=["split", "metric", "value", "unit"]))
    write_yaml(out / "config.yaml", config.model_dump())
    said = [f"{row['split']} {row['metric']} {row['value']:.1f} {row['unit']}" for row in metrics]
    return f"{', '.join(said) or notes['power']} | output {out}"


def _fit_and_judge_power(proxy: LayerHwProxy, models: MeasuredModels, out: Path) -> Metrics:
    rejected = implausible(models)
    write_parquet(out / "rejected.parquet", rejected)
    print(f"{len(rejected)} of {len(models)} measured models cannot be true: {out / 'rejected.parquet'}", flush=True)
    kept = subset(models, torch.tensor(~models.frame.index.isin(rejected.index)))
    frame = kept.frame
    metrics: Metrics = [{"split": "models", "metric": "rejected", "value": float(len(rejected)), "unit": "rows"}]
    folds = {"unseen_workload": workload_folds(kept), "left_out_device": device_folds(kept)}
    for split, chosen in folds.items():
        if len(chosen) < 2:
            continue
        latency_ms, power_w = predict_left_out(proxy, kept, chosen)
        frame = frame.assign(**{f"latency_ms_{split}": latency_ms.numpy(), f"power_w_{split}": power_w.numpy()})
        for name, predicted, truth in (("latency", latency_ms, kept.latency_ms), ("power", power_w, kept.power_w)):
            error = 100.0 * (predicted / truth - 1.0).abs()
            values = (("median_ape", error.median()), ("mape", error.mean()))
            metrics += [
                {"split": split, "metric": f"{name}_{key}", "value": float(value), "unit": "%"} for key, value in values
            ]
    kernels_ms = kernel_sums_ms(proxy, kept)
    timing = fit_host_timing(kernels_ms, kept.launches, kept.latency_ms)
    latency_ms = timing.log_ms(kernels_ms, kept.launches).exp()
    proxy.power = fit_power(kept, latency_ms)
    power_w = predict_power(proxy.power, kept, latency_ms)
    write_parquet(out / "models.parquet", frame.assign(latency_ms_fit=latency_ms.numpy(), power_w_fit=power_w.numpy()))
    write_json(out / "host_timing.json", {"scale": timing.scale, "launch_ms": timing.launch_ms})
    return metrics
