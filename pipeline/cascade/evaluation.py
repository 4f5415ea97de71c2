"""Everything that is said about one patient's cascade on its test recordings (EXP-C6-evaluate), and pooled.

Arms: `cascade`, its two nets each on all windows (`simple`, `complex`), and the `complex_only` baseline, which was
trained apart. Windows are scored at p = 0.5; alarms come from a causal vote (`event_scores.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..artifacts import read_json, read_parquet, write_parquet
from ..config.cascade import SPLITS, CascadeConfig
from ..config.cascade_model import CascadeEvaluationConfig
from ..data.ieeg_windows import IeegWindows, windowed_patients
from ..errors import DataError
from ..trainer.metrics import Metric
from .cascade_models import threshold_of
from .electrode_search import search_electrodes
from .event_scores import NO_EVENTS, EventCounts, EventRules, alarms, score_events
from .macs import cascade_macs, energy_proxy_j
from .metric_table import POOLED, Row, metric_table, window_metrics
from .predictions import INDEX_COLUMNS, route, verdicts_of
from .risk_control import MARGINS
from .window_scores import balanced_accuracy

ARM_LOGITS = {"cascade": "logit", "simple": "simple", "complex": "complex", "complex_only": "only"}
EVENT_COLUMNS = ["patient", "recording", "arm", "seizures", "found", "false_alarms", "duration_s", "latencies_s"]
LOGIT_COLUMNS = tuple(f"{name}_{k}" for name in ("logit", "simple", "complex") for k in (0, 1))


def evaluate(
    cfg: CascadeConfig, out: Path, results: Path, *, patient: str | None = None, pool_only: bool = False
) -> None:
    """Score one patient, or pool those that are scored, or (without either) do all of it.

    Args:
        cfg: the resolved configuration.
        out: the run folder, with a folder per patient.
        results: the preset's results, where EXP-C0-baseline and EXP-C3-stages of the same seed lie.
        patient: score this one and stop.
        pool_only: pool the patients' tables and score none.
    """
    names = [patient] if patient else windowed_patients(cfg.data.root)
    if not pool_only:
        for name in names:
            baseline, stages = (
                results / experiment / f"seed{cfg.seed}" / name for experiment in ("EXP-C0-baseline", "EXP-C3-stages")
            )
            evaluate_cascade(cfg, name, baseline, stages, out / name)
    if patient is None:
        pool_patients(cfg, [out / name for name in names], out)


def evaluate_cascade(cfg: CascadeConfig, patient: str, baseline: Path, stages: Path, out: Path) -> None:
    """Score one patient and write metrics, events by recording, the risk-coverage curve and the electrode search.

    Args:
        cfg: the resolved configuration.
        patient: a patient of the data folder.
        baseline: run folder of the patient in EXP-C0-baseline, same seed.
        stages: run folder of the patient in EXP-C3-stages, same seed.
        out: the run folder.

    Raises:
        DataError: an input is missing or the two runs scored different windows.
    """
    manifest = read_json(stages / "cascade.json")
    table = joined_predictions(baseline, stages)
    test = table[table["split"] == "test"].reset_index(drop=True)
    events = score_recordings(test, cfg)
    splits: dict[str, IeegWindows] = {name: IeegWindows(cfg.data.root, patient, name) for name in SPLITS}
    electrodes = search_electrodes(cfg, manifest["simple_model"], manifest["electrode"], splits)
    rows = [row for arm in ARM_LOGITS for row in _arm_rows(arm, test, events, manifest)]
    rows += _cascade_rows(test, manifest, electrodes)
    write_parquet(out / "events.parquet", events)
    write_parquet(out / "electrodes.parquet", electrodes)
    write_parquet(out / "risk_coverage.parquet", risk_coverage(table))
    write_parquet(out / "test_predictions.parquet", test)
    write_parquet(out / "metrics.parquet", metric_table(cfg, patient, rows))
    for arm, _, metric, value in rows:
        if metric in (Metric.BALANCED_ACCURACY, Metric.AUC, Metric.CALL_RATE, Metric.EVENT_SENSITIVITY):
            print(f"{arm} {metric} {value:.3f}", flush=True)


def joined_predictions(baseline: Path, stages: Path) -> pd.DataFrame:
    """The cascade's predictions with the baseline's logits beside them (`only_0`, `only_1`).

    Raises:
        DataError: a table is missing, or the two runs scored different windows.
    """
    cascade = read_parquet(stages / "predictions.parquet", (*INDEX_COLUMNS, *LOGIT_COLUMNS, "routed"))
    alone = read_parquet(baseline / "predictions.parquet", (*INDEX_COLUMNS, "logit_0", "logit_1"))
    alone = alone.rename(columns={"logit_0": "only_0", "logit_1": "only_1"})[[*INDEX_COLUMNS, "only_0", "only_1"]]
    joined = cascade.merge(alone, on=INDEX_COLUMNS, how="inner")
    if not len(joined) == len(cascade) == len(alone):
        raise DataError(
            f"{stages} and {baseline} scored different windows ({len(cascade)} and {len(alone)}, {len(joined)} in "
            "common); make both again from the same data"
        )
    return joined


def score_recordings(test: pd.DataFrame, cfg: CascadeConfig) -> pd.DataFrame:
    """Event counts of every arm in every recording of a table of test predictions."""
    settings = cfg.evaluation
    rules = event_rules(settings)
    window_s = cfg.data.window_samples / cfg.data.sample_rate_hz
    root = Path(cfg.data.root)
    recordings = read_parquet(root / "recordings.parquet", ("patient", "recording", "duration_s"))
    annotations = read_parquet(root / "annotations.parquet", ("patient", "recording", "onset_s", "offset_s"))
    durations = recordings.set_index(["patient", "recording"])["duration_s"]
    rows = []
    for key, windows in test.sort_values("start_s").groupby(["patient", "recording"], sort=True):
        patient, recording = str(key[0]), str(key[1])
        marked = annotations[(annotations["patient"] == patient) & (annotations["recording"] == recording)]
        reference = sorted(zip(marked["onset_s"].astype(float), marked["offset_s"].astype(float), strict=True))
        duration_s = float(durations[(patient, recording)])
        for arm, name in ARM_LOGITS.items():
            ictal = (windows[f"{name}_1"] > windows[f"{name}_0"]).to_numpy()
            start_s = windows["start_s"].to_numpy(float)
            raised = alarms(ictal, start_s, window_s, settings.votes, settings.votes_among)
            counts = score_events(reference, raised, duration_s, rules)
            rows.append((patient, recording, arm, *vars(counts).values()))
    table = pd.DataFrame.from_records(rows, columns=EVENT_COLUMNS)
    return table.assign(latencies_s=table["latencies_s"].map(list))


def event_rules(settings: CascadeEvaluationConfig) -> EventRules:
    """The configured rules of event scoring."""
    return EventRules(
        settings.tolerance_before_s, settings.tolerance_after_s, settings.merge_gap_s, settings.max_event_s
    )


def risk_coverage(table: pd.DataFrame) -> pd.DataFrame:
    """For every margin of the grid, on calibration and test: share kept, both risks, the cascade's balanced accuracy.

    Args:
        table: predictions of one or more patients.
    """
    rows = []
    for split in ("calibration", "test"):
        chosen = table[table["split"] == split]
        verdicts = verdicts_of(chosen)
        label = chosen["label"].to_numpy()
        for margin in (np.inf, *MARGINS):
            losses = verdicts.losses(margin)
            kept = verdicts.margin > margin
            predicted = (route(chosen, margin)["p_ictal"] > 0.5).to_numpy()
            rows.append(
                (
                    split,
                    margin,
                    threshold_of(margin),
                    float(kept.mean()),
                    float(losses.mean()),
                    _share(losses[verdicts.ictal]),
                    _share(~verdicts.simple_right[kept]),
                    balanced_accuracy(predicted, label),
                )
            )
    columns = ["split", "margin", "threshold", "accepted", "risk", "ictal_risk", "error_kept", "balanced_accuracy"]
    return pd.DataFrame(rows, columns=columns)


def pool_patients(cfg: CascadeConfig, folders: Sequence[Path], out: Path) -> None:
    """Join the patients' metrics of one seed and add the pooled ones (patient `all`): windows and events together.

    Raises:
        DataError: a patient's table is missing.
    """
    metrics = pd.concat([read_parquet(folder / "metrics.parquet") for folder in folders], ignore_index=True)
    test = pd.concat([read_parquet(folder / "test_predictions.parquet") for folder in folders], ignore_index=True)
    events = pd.concat([read_parquet(folder / "events.parquet") for folder in folders], ignore_index=True)
    rows: list[Row] = []
    for arm, name in ARM_LOGITS.items():
        rows += [(arm, "test", metric, value) for metric, value in window_metrics(test, f"{name}_").items()]
        rows += [(arm, "test", metric, value) for metric, value in event_metrics(events, arm).items()]
        costs = metrics[(metrics["arm"] == arm) & metrics["metric"].isin(_COST_METRICS)]
        for metric, values in costs.groupby("metric")["value"]:
            rows.append((arm, "test", Metric(str(metric)), float(values.mean())))
    rows += [("cascade", "test", metric, value) for metric, value in _risks(test).items()]
    rows.append(("cascade", "test", Metric.CALL_RATE, float(test["routed"].mean())))
    pooled = metric_table(cfg, POOLED, rows)
    write_parquet(out / "metrics.parquet", pd.concat([pooled, metrics], ignore_index=True))


_COST_METRICS = [str(m) for m in (Metric.MACS_PER_WINDOW, Metric.MACS_PER_WINDOW_LIVE, Metric.ENERGY_PROXY)]


def event_metrics(events: pd.DataFrame, arm: str) -> dict[Metric, float]:
    """Event scores of an arm over all recordings of a table of event counts."""
    total = sum((_counts(row) for row in events[events["arm"] == arm].to_dict("records")), NO_EVENTS)
    missed = total.seizures - total.found
    scored = 2 * total.found + total.false_alarms + missed
    return {
        Metric.SEIZURES: float(total.seizures),
        Metric.EVENT_SENSITIVITY: total.sensitivity,
        Metric.EVENT_PRECISION: total.precision,
        Metric.EVENT_F1: 2 * total.found / scored if scored else float("nan"),
        Metric.FALSE_ALARMS_PER_HOUR: total.false_alarms_per_hour,
        Metric.DETECTION_LATENCY: total.median_latency_s,
    }


def _counts(row: dict[Any, Any]) -> EventCounts:
    return EventCounts(
        int(row["seizures"]), int(row["found"]), int(row["false_alarms"]), row["duration_s"], tuple(row["latencies_s"])
    )


def _arm_rows(arm: str, test: pd.DataFrame, events: pd.DataFrame, manifest: dict[str, Any]) -> list[Row]:
    calls = {"cascade": float(test["routed"].mean()), "simple": 0.0}.get(arm, 1.0)
    simple = manifest["simple_macs"] if arm in ("cascade", "simple") else 0
    macs = cascade_macs(simple, manifest["complex_macs"], calls)
    values = {
        **window_metrics(test, f"{ARM_LOGITS[arm]}_"),
        **event_metrics(events, arm),
        Metric.MACS_PER_WINDOW: macs,
        Metric.MACS_PER_WINDOW_LIVE: cascade_macs(simple, manifest["complex_macs_live"], calls),
        Metric.ENERGY_PROXY: energy_proxy_j(macs),
    }
    return [(arm, "test", metric, value) for metric, value in values.items()]


def _cascade_rows(test: pd.DataFrame, manifest: dict[str, Any], electrodes: pd.DataFrame) -> list[Row]:
    best = float(electrodes["auc_test"].max())
    learned = float(electrodes.loc[electrodes["learned"], "auc_test"].max())
    simple = window_metrics(test, "simple_")[Metric.AUC]
    values = {
        Metric.CALL_RATE: float(test["routed"].mean()),
        **_risks(test),
        Metric.MARGIN: float("inf") if manifest["margin"] is None else float(manifest["margin"]),
        Metric.ELECTRODE: float(manifest["electrode"]),
        Metric.LIVE_ELECTRODES: float(manifest["live_electrodes"]),
        # The worse of the two: the electrode under the search's own training, and the path as it is deployed.
        Metric.ELECTRODE_AUC_GAP: best - min(learned, simple),
    }
    return [("cascade", "test", metric, value) for metric, value in values.items()]


def _risks(test: pd.DataFrame) -> dict[Metric, float]:
    verdicts = verdicts_of(test)
    losses = ~test["routed"].to_numpy() & ~verdicts.simple_right & verdicts.complex_right
    return {Metric.RISK: float(losses.mean()), Metric.ICTAL_RISK: _share(losses[verdicts.ictal])}


def _share(chosen: np.ndarray) -> float:
    return float(chosen.mean()) if len(chosen) else float("nan")
