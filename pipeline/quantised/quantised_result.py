"""What EXP-C4-qat writes of one patient: the integer model, its layers, and the scores before and after."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import save

from ..artifacts import read_json, read_parquet, sha256_of_file, write_bytes, write_json, write_parquet
from ..cascade.cascade_training import HISTORY_COLUMNS
from ..cascade.macs import parameter_count
from ..cascade.metric_table import Row, metric_rows, metric_table
from ..cascade.predictions import INDEX_COLUMNS
from ..cascade.risk_control import Calibration
from ..cascade.training_loop import TrainingState
from ..config.cascade import CascadeConfig
from ..data.ieeg_windows import IeegWindows
from ..trainer.metrics import Metric
from .answers import Answers, float_route, integer_route, predictions, scaled_logits
from .integer_files import DOCUMENT, write_integer_model
from .integer_model import IntegerModel
from .layer_table import layer_table, macs_of, parameters_of, weight_bytes_of
from .qat import QuantisedCascade

INTEGER_MODEL = "integer_model"
SHOWN = (Metric.AUC, Metric.BALANCED_ACCURACY, Metric.CALL_RATE)


@dataclass(frozen=True)
class QuantisedResult:
    """The quantised nets in float64, their integer model, the margin, and what both say about every window."""

    cascade: QuantisedCascade
    model: IntegerModel
    calibration: Calibration
    answers: dict[str, Answers]
    splits: dict[str, IeegWindows]
    mismatches: int


def write_result(
    cfg: CascadeConfig, patient: str, result: QuantisedResult, state: TrainingState, stages: Path, out: Path
) -> None:
    """Write everything into the run folder of the patient; `stages` is that of EXP-C3-stages."""
    write_integer_model(out / INTEGER_MODEL, result.model)
    write_json(out / "quantised.json", _manifest(cfg, patient, result, stages, out))
    # In float64, as they were converted: the centred biases lie between two floats of 32 bits.
    weights = {name: value.detach().contiguous() for name, value in result.cascade.state_dict().items()}
    write_bytes(out / "model.safetensors", save(weights))
    write_parquet(out / "calibration.parquet", result.calibration.table)
    write_parquet(out / "history.parquet", pd.DataFrame(state.history, columns=HISTORY_COLUMNS))
    write_parquet(out / "layers.parquet", layer_table(result.model))
    integers = {name: _of_integers(result, name) for name in result.splits}
    write_parquet(out / "predictions.parquet", pd.concat(integers.values(), ignore_index=True))
    rows = _scores(result, integers, stages)
    write_parquet(out / "cost.parquet", metric_table(cfg, patient, _costs(result, state)))
    write_parquet(out / "metrics.parquet", metric_table(cfg, patient, rows + _sizes(result)))
    for arm, split, metric, value in rows:
        if split == "test" and metric in SHOWN:
            print(f"{arm} {metric} {value:.4f}", flush=True)


def _manifest(cfg: CascadeConfig, patient: str, result: QuantisedResult, stages: Path, out: Path) -> dict[str, Any]:
    trained = read_json(stages / "cascade.json")
    channels = read_parquet(Path(cfg.data.root) / "channels.parquet", ("patient", "channel", "mean", "scale"))
    own = channels[channels["patient"] == patient].iloc[trained["electrode"]]
    margin = result.calibration.margin
    return {
        "patient": patient,
        "simple_model": trained["simple_model"],
        "electrode": trained["electrode"],
        "electrode_mean": float(own["mean"]),
        "electrode_scale": float(own["scale"]),
        "widths": cfg.quantisation.widths,
        "margin": margin if np.isfinite(margin) else None,
        "integer_margin": result.model.routing.margin,
        "threshold": result.model.routing.threshold,
        "threshold_before": trained["threshold"],
        "why_not_looser": result.calibration.reason,
        "windows_compared": sum(map(len, result.splits.values())),
        "mismatches": result.mismatches,
        "networks": {
            network.name: {
                "parameters": parameters_of(network),
                "macs": macs_of(network),
                "weight_bytes": weight_bytes_of(network),
            }
            for network in result.model.networks
        },
        "integer_model_sha256": sha256_of_file(out / INTEGER_MODEL / DOCUMENT),
    }


def _of_integers(result: QuantisedResult, split: str) -> pd.DataFrame:
    answers = result.answers[split]
    simple, complex_ = scaled_logits(result.model, answers)
    return predictions(result.splits[split], simple, complex_, integer_route(result.model, answers))


def _scores(result: QuantisedResult, integers: dict[str, pd.DataFrame], stages: Path) -> list[Row]:
    """Window scores and calls of the trained cascade, of the quantised nets, and of the integer model."""
    before = read_parquet(stages / "predictions.parquet", (*INDEX_COLUMNS, "routed", "logit_0", "logit_1"))
    rows: list[Row] = []
    for name, windows in result.splits.items():
        own = result.answers[name]
        routed = float_route(own.qat_simple, result.calibration.margin)
        arms = {
            "float": before[before["split"] == name],
            "qat": predictions(windows, own.qat_simple, own.qat_complex, routed),
            "integer": integers[name],
        }
        rows += [row for arm, table in arms.items() for row in metric_rows(arm, name, table)]
    return rows


def _costs(result: QuantisedResult, state: TrainingState) -> list[Row]:
    return [
        ("all", "all", Metric.PARAMETERS, float(parameter_count(result.cascade))),
        ("all", "train", Metric.TRAIN_TIME, state.train_seconds),
        ("all", "train", Metric.TRAIN_THROUGHPUT, state.windows_seen / max(state.train_seconds, 1e-9)),
        ("all", "all", Metric.PEAK_MEMORY, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
    ]


def _sizes(result: QuantisedResult) -> list[Row]:
    """Bytes of the weights, of 32-bit floats and at the widths of the integer model; windows that disagree."""
    floats = sum(4 * parameters_of(network) for network in result.model.networks)
    integers = sum(weight_bytes_of(network) for network in result.model.networks)
    return [
        ("float", "all", Metric.WEIGHT_BYTES, float(floats)),
        ("integer", "all", Metric.WEIGHT_BYTES, float(integers)),
        ("integer", "all", Metric.MISMATCHES, float(result.mismatches)),
    ]
