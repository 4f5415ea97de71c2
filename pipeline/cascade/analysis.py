"""EXP-C1-analysis: the four analyses of the cascade plan's part 5, per patient, as tables.

Only training and validation windows are read; calibration and test stay unseen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ..artifacts import read_parquet, write_parquet
from ..config.cascade import CascadeConfig
from ..data.ieeg_windows import IeegWindows
from ..errors import DataError
from ..progress import with_progress
from ..trainer.metrics import Metric
from .analysis_correlation import correlation_matrix, correlation_table, redundancy_summary
from .analysis_difficulty import confidence_histogram, difficulty_summary
from .analysis_separability import separability, window_features
from .analysis_spectrum import band_powers, evolution, spectra
from .metric_table import POOLED, Row, metric_table

PREDICTION_COLUMNS = ("patient", "recording", "start_s", "split", "label", "p_ictal")
CLASS_NAMES = {0: "interictal", 1: "ictal"}

Tables = dict[str, pd.DataFrame]


def analyse(cfg: CascadeConfig, baseline: Path, out: Path) -> None:
    """Write the tables of the four analyses and the metrics that sum them up.

    Args:
        cfg: the resolved configuration.
        baseline: EXP-C0-baseline of the same seed: holds `<patient>/predictions.parquet`.
        out: the run folder; gets `tables/*.parquet` and `metrics.parquet`.

    Raises:
        DataError: the data folder or the baseline is incomplete.
    """
    patients = patients_in(cfg)
    parts: list[Tables] = []
    for patient in with_progress(patients, cfg.experiment, "patient", out / "progress.json"):
        parts.append(_patient_tables(cfg, patient, _baseline_of(baseline, patient)))
        print(_sentence(patient, parts[-1]), flush=True)
    tables = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}
    for name, table in tables.items():
        write_parquet(out / "tables" / f"{name}.parquet", table)
    rows = [metric_table(cfg, patient, _metrics(part)) for patient, part in zip(patients, parts, strict=True)]
    rows.append(metric_table(cfg, POOLED, _pooled_metrics(tables)))
    write_parquet(out / "metrics.parquet", pd.concat(rows, ignore_index=True))


def patients_in(cfg: CascadeConfig) -> list[str]:
    """The patients of the data folder, in its order."""
    index = read_parquet(Path(cfg.data.root) / "index.parquet", ("patient",))
    return list(dict.fromkeys(index["patient"]))


def best_electrode(separability_table: pd.DataFrame, patient: str) -> int:
    """The most separable electrode of a patient.

    Raises:
        DataError: the table does not know the patient.
    """
    rows = separability_table[(separability_table["patient"] == patient) & (separability_table["rank"] == 1)]
    if rows.empty:
        raise DataError(f"separability.parquet: no row of patient {patient}; make EXP-C1-analysis again")
    return int(rows["channel"].iloc[0])


def _baseline_of(baseline: Path, patient: str) -> pd.DataFrame:
    path = baseline / patient / "predictions.parquet"
    if not path.is_file():
        raise DataError(f"{path}: no such file; make EXP-C0-baseline first: the difficulty analysis reads it")
    table = read_parquet(path, PREDICTION_COLUMNS)
    return table[table["split"] == "val"]


def _patient_tables(cfg: CascadeConfig, patient: str, predictions: pd.DataFrame) -> Tables:
    settings, rate_hz, bands_hz = cfg.analysis, cfg.data.sample_rate_hz, cfg.analysis.bands_hz
    train, val = (_Sample(cfg, patient, split) for split in ("train", "val"))
    channels = np.flatnonzero(train.windows.channel_mask).tolist()
    names, train_features = window_features(train.signals, rate_hz, bands_hz)
    _, val_features = window_features(val.signals, rate_hz, bands_hz)
    separable = separability(names, (train_features, train.labels), (val_features, val.labels), channels)
    best = int(separable["channel"].iloc[0])
    signals, labels = train.signals[:, best], train.labels
    summary = difficulty_summary(predictions, settings.easy_confidence)
    tables = {
        "separability": separable,
        "difficulty": confidence_histogram(predictions),
        "difficulty_summary": pd.DataFrame([summary]),
        **_correlations(train, channels),
        "spectrum": spectra(signals, labels, rate_hz).assign(channel=best),
        "bands": band_powers(signals, labels, rate_hz, bands_hz).assign(channel=best),
        "evolution": _evolution(cfg, train, best),
    }
    tables["separability"]["key_channel"] = tables["separability"]["auc"] >= settings.key_channel_auc
    return {name: table.assign(patient=patient) for name, table in tables.items()}


class _Sample:
    """An evenly spaced sample of a split: at most `analysis.max_windows` windows of each class."""

    signals: Float[np.ndarray, "N C T"]
    labels: Int[np.ndarray, " N"]

    def __init__(self, cfg: CascadeConfig, patient: str, split: str) -> None:
        self.windows = IeegWindows(cfg.data.root, patient, split)
        positions = np.sort(
            np.concatenate(
                [_evenly(np.flatnonzero(self.windows.labels == label), cfg.analysis.max_windows) for label in (0, 1)]
            )
        )
        self.signals = self.windows.read(positions)
        self.labels = self.windows.labels[positions]
        self.index = self.windows.index.iloc[positions].reset_index(drop=True)


def _evenly(rows: Int[np.ndarray, " N"], most: int) -> Int[np.ndarray, " M"]:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _correlations(train: _Sample, channels: list[int]) -> Tables:
    pairs, summaries = [], []
    for label, name in CLASS_NAMES.items():
        correlation = correlation_matrix(train.signals[train.labels == label][:, channels])
        pairs.append(correlation_table(correlation, channels).assign(class_name=name))
        summaries.append({"class_name": name, **redundancy_summary(correlation)})
    return {"correlation": pd.concat(pairs, ignore_index=True), "redundancy": pd.DataFrame(summaries)}


def _evolution(cfg: CascadeConfig, train: _Sample, channel: int) -> pd.DataFrame:
    annotations = read_parquet(Path(cfg.data.root) / "annotations.parquet", ("patient", "recording", "onset_s"))
    own = annotations[annotations["patient"] == train.windows.patient]
    onsets = {name: group["onset_s"].to_numpy() for name, group in own.groupby("recording")}
    ictal = train.labels == 1
    middle_s = train.index["start_s"].to_numpy() + cfg.data.window_samples / cfg.data.sample_rate_hz / 2
    since_s = np.array(
        [
            middle - onsets[name][onsets[name] <= middle].max(initial=0.0)
            for name, middle in zip(train.index["recording"][ictal], middle_s[ictal], strict=True)
        ]
    )
    return evolution(
        train.signals[ictal, channel],
        since_s,
        train.signals[~ictal, channel],
        cfg.data.sample_rate_hz,
        cfg.analysis.bands_hz,
    ).assign(channel=channel)


def _metrics(tables: Tables) -> list[Row]:
    best = tables["separability"].iloc[0]
    redundancy = tables["redundancy"].set_index("class_name")
    return [
        ("analysis", "val", Metric.BEST_ELECTRODE_AUC, float(best["auc"])),
        ("analysis", "val", Metric.ELECTRODE, float(best["channel"])),
        ("analysis", "val", Metric.KEY_ELECTRODES, float(tables["separability"]["key_channel"].sum())),
        ("analysis", "val", Metric.EASY_SHARE, float(tables["difficulty_summary"]["easy_share"].iloc[0])),
        ("analysis", "train", Metric.EFFECTIVE_RANK, float(redundancy["effective_rank"]["interictal"])),
    ]


def _pooled_metrics(tables: Tables) -> list[Row]:
    """Over patients: the easy share by windows, the rest as means."""
    summary = tables["difficulty_summary"]
    easy = float((summary["easy_share"] * summary["windows"]).sum() / summary["windows"].sum())
    best = tables["separability"].query("rank == 1")
    rest = tables["redundancy"].query("class_name == 'interictal'")
    return [
        ("analysis", "val", Metric.BEST_ELECTRODE_AUC, float(best["auc"].mean())),
        ("analysis", "val", Metric.EASY_SHARE, easy),
        ("analysis", "train", Metric.EFFECTIVE_RANK, float(rest["effective_rank"].mean())),
    ]


def _sentence(patient: str, tables: Tables) -> str:
    best, summary = tables["separability"].iloc[0], tables["difficulty_summary"].iloc[0]
    return (
        f"{patient}: electrode {best['channel']} separates best (AUC {best['auc']:.3f}, {best['best_feature']}); "
        f"{tables['separability']['key_channel'].sum()} key electrodes; {summary['easy_share']:.1%} of windows easy; "
        f"effective rank {tables['redundancy']['effective_rank'].iloc[0]:.1f} of {len(tables['separability'])}"
    )
