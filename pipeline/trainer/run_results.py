"""What a finished run leaves: its model, its test, its costs, and how it came about."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save

from ..artifacts import write_bytes, write_json, write_parquet
from ..hw_proxy.flops_estimator import total_macs
from ..models.compact import has_pruner
from ..models.video_audio_ast import VideoAudioAST
from .checkpoint import mark_finished
from .evaluation import choose_audio_weight, evaluate, window_logits
from .metrics import Metric, long_table
from .pruned_run import compact_run, dense_twin, forward_times, pruning_metrics
from .pruning_record import write_pruning_record
from .training_run import HISTORY_COLUMNS, Run


@dataclass(frozen=True)
class Training:
    """What training left besides weights: its history, its seconds, and the clips it saw."""

    history: Sequence[tuple[int, int, str, str, float]]
    seconds: float
    clips_seen: int


def write_results(
    run: Run, training: Training, design: Mapping[str, Any], metrics: Mapping[Metric, float] | None = None
) -> None:
    """Choose the sound's weight on val, test once, and write every artefact of the run; its metrics come last.

    Args:
        design: what `design.json` holds.
        metrics: figures of the whole run that stand beside those of the test split.
    """
    cfg, network, out = run.cfg, run.network, run.out
    values: dict[str, dict[Metric, float]] = {}
    predictions = []
    test_seconds = 0.0
    late = isinstance(network, VideoAudioAST) and network.fusion == "late"
    for name, dataset in (("val", run.splits.val), ("test", run.splits.test)):
        if not len(dataset):
            continue
        began = time.perf_counter()
        windows = window_logits(network, dataset, run.fabric.device)
        test_seconds = time.perf_counter() - began
        if name == "val" and isinstance(network, VideoAudioAST) and late and cfg.epochs():
            network.set_audio_weight(choose_audio_weight(dataset, windows))
            windows = window_logits(network, dataset, run.fabric.device)
        values[name], table = evaluate(dataset, windows)
        if has_pruner(network):
            values[name] |= pruning_metrics(network, dataset, windows)
        predictions.append(table.assign(split=name))
    if isinstance(network, VideoAudioAST) and late:
        values["test"][Metric.AUDIO_WEIGHT] = float(network.audio_weight)
    if metrics:
        values["all"] = dict(metrics)
    write_bytes(out / "model.safetensors", save({k: v.contiguous() for k, v in network.state_dict().items()}))
    write_json(out / "design.json", design)
    write_parquet(out / "history.parquet", pd.DataFrame(training.history, columns=HISTORY_COLUMNS))
    write_parquet(out / "predictions.parquet", pd.concat(predictions, ignore_index=True))
    cost = _cost(run, training, test_seconds)
    write_parquet(out / "cost.parquet", long_table(cfg.experiment, cfg.seed, {"all": cost}))
    if has_pruner(network):
        write_pruning_record(network, run.splits.test, out / "pruning", run.fabric.device)
    table = long_table(cfg.experiment, cfg.seed, values)
    if cfg.data.splits == "by_time":
        table["note"] = "same videos in all splits, cut in time"
    write_parquet(out / "metrics.parquet", table)
    mark_finished(out / "checkpoint")
    for row in table[table["metric"] == Metric.VIDEO_TOP1].itertuples():
        print(f"{row.split} {row.metric} {row.value:.3f}", flush=True)


def _cost(run: Run, training: Training, test_seconds: float) -> dict[Metric, float]:
    """What the run cost; kept apart from its metrics because clocks differ between equal runs."""
    if run.fabric.device.type == "cuda":
        peak_bytes = torch.cuda.max_memory_allocated(run.fabric.device)
    else:
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cost = {
        Metric.PARAMETERS: float(sum(parameter.numel() for parameter in run.network.parameters())),
        Metric.MACS_PER_CLIP: float(total_macs(run.network)),
        Metric.EVAL_THROUGHPUT: len(run.splits.test) / test_seconds,
        Metric.TRAIN_TIME: training.seconds,
        Metric.PEAK_MEMORY: peak_bytes / 1e6,
    }
    network, test, device = run.network, run.splits.test, run.fabric.device
    dense = dense_twin(run.cfg, network, device) if has_pruner(network) else None
    if dense is not None and run.cfg.ast.gates:
        cost |= compact_run(network, test, run.out / "compact.safetensors", device, dense)
    else:
        cost |= forward_times(network, test, device, dense)
    if training.seconds:
        cost[Metric.TRAIN_THROUGHPUT] = training.clips_seen / training.seconds
    return cost
