"""The long metric table of the cascade: that of every experiment, with the patient and the arm that was scored."""

from __future__ import annotations

import pandas as pd

from ..config.cascade import CascadeConfig
from ..trainer.metrics import UNITS, Metric
from .window_scores import auc, average_precision, balanced_accuracy

COLUMNS = ["experiment", "seed", "patient", "arm", "split", "metric", "value", "unit"]
POOLED = "all"

Row = tuple[str, str, Metric, float]


def window_metrics(table: pd.DataFrame, prefix: str = "") -> dict[Metric, float]:
    """AUC, area under the precision-recall curve and balanced accuracy at p = 0.5 of a table of predictions.

    Args:
        table: columns label and `<prefix>0`, `<prefix>1`, the logits; without a prefix, logit_0 and logit_1.
        prefix: whose logits, e.g. `simple_`.
    """
    names = (f"{prefix}0", f"{prefix}1") if prefix else ("logit_0", "logit_1")
    score = (table[names[1]].astype(float) - table[names[0]].astype(float)).to_numpy()
    label = table["label"].to_numpy()
    return {
        Metric.AUC: auc(score, label),
        Metric.AVERAGE_PRECISION: average_precision(score, label),
        Metric.BALANCED_ACCURACY: balanced_accuracy(score > 0, label),
        Metric.WINDOWS: float(len(label)),
        Metric.ICTAL_WINDOWS: float(label.sum()),
    }


def metric_rows(arm: str, split: str, table: pd.DataFrame) -> list[Row]:
    """Rows of the window metrics of an arm, and of its call rate if it routes."""
    rows: list[Row] = [(arm, split, metric, value) for metric, value in window_metrics(table).items()]
    if "routed" in table:
        rows.append((arm, split, Metric.CALL_RATE, float(table["routed"].mean())))
    return rows


def metric_table(cfg: CascadeConfig, patient: str, rows: list[Row]) -> pd.DataFrame:
    """Rows (arm, split, metric, value) of a patient as a long table."""
    whole = [
        (cfg.experiment, cfg.seed, patient, arm, split, str(metric), float(value), UNITS[metric])
        for arm, split, metric, value in rows
    ]
    return pd.DataFrame(whole, columns=COLUMNS)
