"""Metric names with their units, and how predictions become metrics."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int


class Metric(StrEnum):
    """Every metric name that may stand in a `metrics.parquet` or `cost.parquet`."""

    CLIP_TOP1 = "clip_top1"
    CLIP_TOP5 = "clip_top5"
    VIDEO_TOP1 = "video_top1"
    VIDEO_TOP5 = "video_top5"
    VIDEO_NLL = "video_nll"
    VIDEO_TOP1_WITH_AUDIO = "video_top1_with_audio"
    VIDEO_TOP1_WITHOUT_AUDIO = "video_top1_without_audio"
    AUDIO_WEIGHT = "audio_weight"
    TRAIN_LOSS = "train_loss"
    LEARNING_RATE = "learning_rate"
    PARAMETERS = "parameters"
    MACS_PER_CLIP = "macs_per_clip"
    TRAIN_THROUGHPUT = "train_throughput"
    EVAL_THROUGHPUT = "eval_throughput"
    TRAIN_TIME = "train_time"
    PEAK_MEMORY = "peak_memory"
    FORWARD_TIME = "forward_time"
    DENSE_FORWARD_TIME = "dense_forward_time"
    AST_LOSS = "ast_loss"
    KEPT_TOKENS = "kept_tokens"
    SPARSITY_TOKEN = "sparsity_token"
    SPARSITY_HEAD = "sparsity_head"
    SPARSITY_CHANNEL = "sparsity_ch"
    SPARSITY_BLOCK = "sparsity_block"
    TARGET_TOKENS_KEPT = "target_tokens_kept"
    COMPACT_PARAMETERS = "compact_parameters"
    COMPACT_MACS_PER_CLIP = "compact_macs_per_clip"
    COMPACT_FORWARD_TIME = "compact_forward_time"
    COMPACT_DIFFERENCE = "compact_difference"
    HW_LOSS = "hw_loss"
    PREDICTED_LATENCY = "predicted_latency"
    PREDICTED_ENERGY = "predicted_energy"
    FLOPS_OVER_BUDGET = "flops_over_budget"
    PREDICTED_PERIOD = "predicted_period"
    ENERGY_DELAY_PRODUCT = "energy_delay_product"
    CHIP_AREA = "chip_area"
    DESIGN_POWER = "design_power"
    CHIPS = "chips"
    WIRE_LENGTH = "wire_length"
    PEAK_TEMPERATURE = "peak_temperature"
    SOFT_HARD_GAP = "soft_hard_gap"
    AUC = "auc"
    AVERAGE_PRECISION = "average_precision"
    BALANCED_ACCURACY = "balanced_accuracy"
    WINDOWS = "windows"
    ICTAL_WINDOWS = "ictal_windows"
    CALL_RATE = "call_rate"
    RISK = "risk"
    ICTAL_RISK = "ictal_risk"
    MARGIN = "margin"
    MACS_PER_WINDOW = "macs_per_window"
    MACS_PER_WINDOW_LIVE = "macs_per_window_live"
    ENERGY_PROXY = "energy_proxy"
    EVENT_SENSITIVITY = "event_sensitivity"
    EVENT_PRECISION = "event_precision"
    EVENT_F1 = "event_f1"
    FALSE_ALARMS_PER_HOUR = "false_alarms_per_hour"
    DETECTION_LATENCY = "detection_latency"
    SEIZURES = "seizures"
    ELECTRODE = "electrode"
    LIVE_ELECTRODES = "live_electrodes"
    ELECTRODE_AUC_GAP = "electrode_auc_gap"
    BEST_ELECTRODE_AUC = "best_electrode_auc"
    KEY_ELECTRODES = "key_electrodes"
    EASY_SHARE = "easy_share"
    EFFECTIVE_RANK = "effective_rank"
    COVERAGE_AT_RISK = "coverage_at_risk"
    WORTHWHILE = "worthwhile"
    WEIGHT_BYTES = "weight_bytes"
    MISMATCHES = "mismatches"


UNITS = {
    Metric.CLIP_TOP1: "share",
    Metric.CLIP_TOP5: "share",
    Metric.VIDEO_TOP1: "share",
    Metric.VIDEO_TOP5: "share",
    Metric.VIDEO_NLL: "nat",
    Metric.VIDEO_TOP1_WITH_AUDIO: "share",
    Metric.VIDEO_TOP1_WITHOUT_AUDIO: "share",
    Metric.AUDIO_WEIGHT: "1",
    Metric.TRAIN_LOSS: "nat",
    Metric.LEARNING_RATE: "1",
    Metric.PARAMETERS: "count",
    Metric.MACS_PER_CLIP: "count",
    Metric.TRAIN_THROUGHPUT: "clips/s",
    Metric.EVAL_THROUGHPUT: "clips/s",
    Metric.TRAIN_TIME: "s",
    Metric.PEAK_MEMORY: "MB",
    Metric.FORWARD_TIME: "ms/clip",
    Metric.DENSE_FORWARD_TIME: "ms/clip",
    Metric.AST_LOSS: "1",
    Metric.KEPT_TOKENS: "share",
    Metric.SPARSITY_TOKEN: "share",
    Metric.SPARSITY_HEAD: "share",
    Metric.SPARSITY_CHANNEL: "share",
    Metric.SPARSITY_BLOCK: "share",
    Metric.TARGET_TOKENS_KEPT: "share",
    Metric.COMPACT_PARAMETERS: "count",
    Metric.COMPACT_MACS_PER_CLIP: "count",
    Metric.COMPACT_FORWARD_TIME: "ms/clip",
    Metric.COMPACT_DIFFERENCE: "1",
    Metric.HW_LOSS: "1",
    Metric.PREDICTED_LATENCY: "ms",
    Metric.PREDICTED_ENERGY: "J",
    Metric.FLOPS_OVER_BUDGET: "1",
    Metric.PREDICTED_PERIOD: "ms",
    Metric.ENERGY_DELAY_PRODUCT: "J·ms",
    Metric.CHIP_AREA: "mm2",
    Metric.DESIGN_POWER: "W",
    Metric.CHIPS: "count",
    Metric.WIRE_LENGTH: "MB·mm",
    Metric.PEAK_TEMPERATURE: "degC",
    Metric.SOFT_HARD_GAP: "share",
    Metric.AUC: "share",
    Metric.AVERAGE_PRECISION: "share",
    Metric.BALANCED_ACCURACY: "share",
    Metric.WINDOWS: "count",
    Metric.ICTAL_WINDOWS: "count",
    Metric.CALL_RATE: "share",
    Metric.RISK: "share",
    Metric.ICTAL_RISK: "share",
    Metric.MARGIN: "logit",
    Metric.MACS_PER_WINDOW: "count",
    Metric.MACS_PER_WINDOW_LIVE: "count",
    Metric.ENERGY_PROXY: "J",
    Metric.EVENT_SENSITIVITY: "share",
    Metric.EVENT_PRECISION: "share",
    Metric.EVENT_F1: "share",
    Metric.FALSE_ALARMS_PER_HOUR: "1/h",
    Metric.DETECTION_LATENCY: "s",
    Metric.SEIZURES: "count",
    Metric.ELECTRODE: "1",
    Metric.LIVE_ELECTRODES: "count",
    Metric.ELECTRODE_AUC_GAP: "share",
    Metric.BEST_ELECTRODE_AUC: "share",
    Metric.KEY_ELECTRODES: "count",
    Metric.EASY_SHARE: "share",
    Metric.EFFECTIVE_RANK: "1",
    Metric.COVERAGE_AT_RISK: "share",
    Metric.WORTHWHILE: "1",
    Metric.WEIGHT_BYTES: "B",
    Metric.MISMATCHES: "count",
}

TINY_PROBABILITY = 1e-12


def top_k_share(probabilities: Float[np.ndarray, "N C"], labels: Int[np.ndarray, " N"], k: int) -> float:
    """Share of rows whose label is among the k most probable classes; ties go to the lower class."""
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((ranked == labels[:, None]).any(axis=1).mean())


def mean_over_windows(
    probabilities: Float[np.ndarray, "W C"], video_of_window: Int[np.ndarray, " W"], videos: int
) -> Float[np.ndarray, "V C"]:
    """Mean class probabilities of each video over all its windows, in float64."""
    total = np.zeros((videos, probabilities.shape[1]))
    np.add.at(total, video_of_window, probabilities.astype(np.float64))
    count = np.bincount(video_of_window, minlength=videos)
    return total / count[:, None]


def negative_log_likelihood(probabilities: Float[np.ndarray, "N C"], labels: Int[np.ndarray, " N"]) -> float:
    """Mean -log p(label), in nat."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, TINY_PROBABILITY)).mean())


def video_metrics(
    probabilities: Float[np.ndarray, "V C"], labels: Int[np.ndarray, " V"], has_audio: Bool[np.ndarray, " V"] | None
) -> dict[Metric, float]:
    """Video-level metrics; with `has_audio`, accuracy is also given with and without a sound track."""
    metrics = {
        Metric.VIDEO_TOP1: top_k_share(probabilities, labels, 1),
        Metric.VIDEO_TOP5: top_k_share(probabilities, labels, 5),
        Metric.VIDEO_NLL: negative_log_likelihood(probabilities, labels),
    }
    if has_audio is not None:
        for name, chosen in (
            (Metric.VIDEO_TOP1_WITH_AUDIO, has_audio),
            (Metric.VIDEO_TOP1_WITHOUT_AUDIO, ~has_audio),
        ):
            if chosen.any():
                metrics[name] = top_k_share(probabilities[chosen], labels[chosen], 1)
    return metrics


def long_table(experiment: str, seed: int, values: dict[str, dict[Metric, float]]) -> pd.DataFrame:
    """Metrics by split as the long table every experiment writes."""
    rows = [
        (experiment, seed, split, str(metric), float(value), UNITS[metric])
        for split, metrics in values.items()
        for metric, value in metrics.items()
    ]
    return pd.DataFrame(rows, columns=["experiment", "seed", "split", "metric", "value", "unit"])
