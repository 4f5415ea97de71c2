"""Training one patient's nets: the complex model alone (the baseline), and the cascade in stages."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..artifacts import exclusive, read_json, write_bytes, write_json, write_parquet
from ..config.cascade import SPLITS, CascadeConfig
from ..data.ieeg_windows import IeegWindows, windowed_patients
from ..errors import ConfigError, DataError
from ..trainer.checkpoint import mark_finished, run_fingerprint
from ..trainer.metrics import Metric
from .cascade_models import SIMPLE_VARIANTS, ComplexModel, SeizureCascade, SimpleVariant, threshold_of
from .decision_bias import centre_decision
from .macs import complex_macs, parameter_count, simple_macs
from .metric_table import metric_rows, metric_table
from .predictions import baseline_predictions, cascade_predictions, logits_of, route, verdicts_of
from .risk_control import calibrate
from .training_loop import Job, TrainingState, run_stages
from .training_stages import baseline_stage, cascade_stages
from .window_scores import auc, balanced_accuracy

MODULE = "pipeline.cascade.cascade_training"
HISTORY_COLUMNS = ["stage", "epoch", "split", "metric", "value"]
DATA_TABLES = ("index.parquet", "channels.parquet", "recordings.parquet")


def train_baselines(cfg: CascadeConfig, out: Path, patient: str | None = None) -> None:
    """`train_baseline` for one patient, or for all of the data folder, each into its own folder under `out`."""
    for name in [patient] if patient else windowed_patients(cfg.data.root):
        train_baseline(cfg, name, out / name)


def train_cascades(cfg: CascadeConfig, out: Path, decision: Path, patient: str | None = None) -> None:
    """`train_cascade` for one patient, or for all of the data folder, each into its own folder under `out`."""
    for name in [patient] if patient else windowed_patients(cfg.data.root):
        train_cascade(cfg, name, out / name, decision)


def train_baseline(cfg: CascadeConfig, patient: str, out: Path) -> None:
    """Train the complex model of one patient on all windows and write its predictions (EXP-C0-baseline).

    Raises:
        ConfigError: training diverged.
        DataError: the data folder is incomplete, or a split lacks a class.
    """
    splits, device = open_splits(cfg, patient)
    torch.manual_seed(cfg.seed)
    model = ComplexModel().to(device)
    val = splits["val"]
    validate = validator(model, {"complex": model.forward}, val, device)
    with exclusive(out / ".lock"):
        state = _run(cfg, patient, out, model, [baseline_stage(model, cfg.training)], splits, validate, device, [])
        centre_decision(model.classifier, logits_of(model.forward, val, device), val.labels)
        logits = {name: logits_of(model.forward, windows, device) for name, windows in splits.items()}
        tables = {name: baseline_predictions(windows, logits[name]) for name, windows in splits.items()}
        rows = [row for name, table in tables.items() for row in metric_rows("complex_only", name, table)]
        _write(cfg, patient, out, model, state, tables, rows)
        mark_finished(out / "checkpoint")


def train_cascade(cfg: CascadeConfig, patient: str, out: Path, decision: Path | None = None) -> None:
    """Train the cascade of one patient in three stages and calibrate its threshold (EXP-C3-stages).

    Args:
        cfg: the resolved configuration.
        patient: a patient of the data folder.
        out: the run folder.
        decision: `decision.json`, which names each patient's simple model; needed if `model.simple` is `decided`.

    Raises:
        ConfigError: training diverged, or the decision is needed and not given.
        DataError: the data folder or the decision is incomplete, or a split lacks a class.
    """
    variant = simple_variant(cfg, patient, decision)
    inputs = [decision] if decision is not None and cfg.model.simple == "decided" else []
    splits, device = open_splits(cfg, patient)
    torch.manual_seed(cfg.seed)
    windows = splits["train"]
    mask = torch.from_numpy(windows.channel_mask[: windows.n_channels])
    cascade = SeizureCascade(
        variant,
        mask,
        content=cfg.model.content,
        sample_rate_hz=cfg.data.sample_rate_hz,
        dropout=cfg.model.dropout,
    ).to(device)
    forwards = {"electrode": cascade.simple_logits, "complex": cascade.complex_logits}
    stages = cascade_stages(cascade, cfg.training)
    val = splits["val"]
    validate = validator(cascade, forwards, val, device)
    with exclusive(out / ".lock"):
        state = _run(cfg, patient, out, cascade, stages, splits, validate, device, inputs)
        for head, forward in ((cascade.simple, cascade.simple_logits), (cascade.complex, cascade.complex_logits)):
            centre_decision(head.classifier, logits_of(forward, val, device), val.labels)
        tables = {name: cascade_predictions(cascade, windows, device) for name, windows in splits.items()}
        tables = _calibrate(cfg, patient, cascade, tables, out)
        rows = [row for name, table in tables.items() for row in metric_rows("cascade", name, table)]
        _write(cfg, patient, out, cascade, state, tables, rows)
        mark_finished(out / "checkpoint")


def simple_variant(cfg: CascadeConfig, patient: str, decision: Path | None) -> SimpleVariant:
    """The simple model of a patient: the configured one, or the one that `decision.json` names.

    Raises:
        ConfigError: a decision is needed and there is none.
        DataError: the decision does not know the patient or names an unknown model.
    """
    if cfg.model.simple != "decided":
        return cfg.model.simple
    if decision is None:
        raise ConfigError("model.simple=decided needs decision.json; make EXP-C2-decide, or set model.simple=A_lite")
    patients = read_json(decision).get("patients", {})
    if patient not in patients:
        raise DataError(f"{decision}: no decision for patient {patient}; make EXP-C2-decide again")
    variant = patients[patient].get("simple_model")
    if variant not in SIMPLE_VARIANTS:
        raise DataError(f"{decision}: patient {patient}: simple_model={variant!r} is not in {SIMPLE_VARIANTS}")
    return variant


def open_splits(cfg: CascadeConfig, patient: str) -> tuple[dict[str, IeegWindows], torch.device]:
    """The windows of all splits of a patient, and the device to train on.

    Raises:
        ConfigError: there is no such device.
        DataError: the data folder is incomplete, or a split lacks a class.
    """
    torch.set_num_threads(cfg.training.threads)
    if cfg.training.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("training.device=cuda: no CUDA device here; use cpu or auto")
    use_cuda = cfg.training.device != "cpu" and torch.cuda.is_available()
    splits: dict[str, IeegWindows] = {name: IeegWindows(cfg.data.root, patient, name) for name in SPLITS}
    for name, windows in splits.items():
        present = set(windows.labels.tolist())
        if present != {0, 1}:
            absent = "ictal" if 1 not in present else "interictal"
            raise DataError(
                f"{cfg.data.root}/index.parquet: patient {patient}, split {name} has no {absent} window; "
                "give the patient more recordings, or change data.split_shares"
            )
    return splits, torch.device("cuda" if use_cuda else "cpu")


def validator(
    network: nn.Module, forwards: Mapping[str, Callable[[Tensor], Tensor]], windows: IeegWindows, device: torch.device
) -> Callable[[str], dict[str, float]]:
    """Validation AUC of the nets that a stage moves: of all of them in the joint one."""
    names = {"electrode": "simple_auc", "complex": "complex_auc"}

    def validate(stage: str) -> dict[str, float]:
        chosen = {stage: forwards[stage]} if stage in forwards else forwards
        values = {}
        for part, forward in chosen.items():
            network.eval()
            logits = logits_of(forward, windows, device)
            values[names[part]] = auc(logits[:, 1] - logits[:, 0], windows.labels)
        return values

    return validate


def _run(
    cfg: CascadeConfig,
    patient: str,
    out: Path,
    network: nn.Module,
    stages: list[Any],
    splits: dict[str, IeegWindows],
    validate: Callable[[str], dict[str, float]],
    device: torch.device,
    inputs: list[Path],
) -> TrainingState:
    counts = ", ".join(f"{name} {len(windows)} ({windows.labels.sum()} ictal)" for name, windows in splits.items())
    print(f"{cfg.experiment} seed {cfg.seed} patient {patient}: windows {counts}; {device}", flush=True)
    tables = [Path(cfg.data.root) / name for name in DATA_TABLES]
    identity = run_fingerprint(cfg, MODULE, [*tables, *inputs]) + patient
    title = f"{cfg.experiment}/{patient}"
    return run_stages(Job(cfg, title, network, stages, splits["train"], validate, device, out, identity))


def _calibrate(
    cfg: CascadeConfig, patient: str, cascade: SeizureCascade, tables: dict[str, pd.DataFrame], out: Path
) -> dict[str, pd.DataFrame]:
    """Choose the margin on the calibration split, write what was decided, and route all tables by it."""
    limits = cfg.evaluation
    chosen = calibrate(
        verdicts_of(tables["calibration"]),
        limits.max_risk,
        limits.max_ictal_risk,
        limits.risk_level,
        call_budget=limits.call_budget,
    )
    cascade.margin.fill_(chosen.margin)
    print(f"margin {chosen.margin:g} (tau {threshold_of(chosen.margin):.4f}); {chosen.reason}", flush=True)
    write_parquet(out / "calibration.parquet", chosen.table)
    write_json(
        out / "cascade.json",
        {
            "patient": patient,
            "simple_model": cascade.simple.variant,
            "electrode": cascade.selector.electrode,
            "live_electrodes": cascade.selector.live_channels,
            "electrodes": len(cascade.selector.mask),
            "usable_electrodes": int(cascade.selector.mask.sum()),
            "electrode_weight": cascade.selector.weights().max().item(),
            "sample_rate_hz": cfg.data.sample_rate_hz,
            "margin": chosen.margin if np.isfinite(chosen.margin) else None,
            "threshold": threshold_of(chosen.margin),
            "margin_note": "null: no margin passed and every window goes to the complex model",
            "why_not_looser": chosen.reason,
            "max_risk": limits.max_risk,
            "max_ictal_risk": limits.max_ictal_risk,
            "risk_level": limits.risk_level,
            "call_budget": limits.call_budget,
            "simple_macs": simple_macs(cascade.simple),
            "complex_macs": complex_macs(),
            "complex_macs_live": complex_macs(len(cascade.selector.mask)),
        },
    )
    return {name: route(table, chosen.margin) for name, table in tables.items()}


def _write(
    cfg: CascadeConfig,
    patient: str,
    out: Path,
    network: nn.Module,
    state: TrainingState,
    tables: dict[str, pd.DataFrame],
    rows: list[tuple[str, str, Metric, float]],
) -> None:
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_bytes(out / "model.safetensors", save(weights))
    write_parquet(out / "history.parquet", pd.DataFrame(state.history, columns=HISTORY_COLUMNS))
    write_parquet(out / "predictions.parquet", pd.concat(tables.values(), ignore_index=True))
    cost = [
        ("all", "all", Metric.PARAMETERS, float(parameter_count(network))),
        ("all", "train", Metric.TRAIN_TIME, state.train_seconds),
        ("all", "train", Metric.TRAIN_THROUGHPUT, state.windows_seen / max(state.train_seconds, 1e-9)),
        ("all", "all", Metric.PEAK_MEMORY, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
    ]
    write_parquet(out / "cost.parquet", metric_table(cfg, patient, cost))
    write_parquet(out / "metrics.parquet", metric_table(cfg, patient, rows))
    for name, table in tables.items():
        score = balanced_accuracy((table["p_ictal"] > 0.5).to_numpy(), table["label"].to_numpy())
        print(f"{name} balanced accuracy {score:.3f}", flush=True)
