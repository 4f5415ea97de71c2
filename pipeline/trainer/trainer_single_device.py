"""Training on one device (or one per process with DDP): spec §13.1.

    L = sum over separately trained nets of cross-entropy(logits, label)
        + lambda_AST · L_AST (with a pruner) + lambda_hw · L_hw (with hardware in the loop)

A run is a function of its resolved configuration, its data and its code: every random choice comes from
(seed, epoch, index), so a run that was killed and resumed ends with the same numbers as one that was not.
"""

from __future__ import annotations

import contextlib
import math
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning_fabric
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from safetensors.torch import save
from torch import Tensor, nn

from ..artifacts import exclusive, write_bytes, write_json, write_parquet
from ..config import RunConfig, TrainingConfig
from ..data.ucf101 import UCF101Dataset, make_loader
from ..errors import ConfigError
from ..hw_proxy.flops_estimator import total_macs
from ..models.build import build_model
from ..models.compact import has_pruner
from ..models.keep_schedule import phase_at
from ..models.video_audio_ast import VideoAudioAST
from ..models.video_vit import VideoViT
from ..progress import Progress, progress_writer, with_bar
from .checkpoint import mark_finished, open_checkpoint, run_fingerprint, save_checkpoint
from .evaluation import choose_audio_weight, evaluate, forward_batch, window_logits
from .hardware_term import HardwareTerm, design_of, hardware_term
from .metrics import Metric, long_table
from .pruned_run import (
    advance_schedules,
    compact_run,
    dense_twin,
    forward_times,
    parameter_groups,
    pruning_metrics,
    schedules_are_done,
    set_learning_rates,
    sparsity_history,
)
from .pruning_record import write_pruning_record
from .schedule import learning_rate_factor
from .start_weights import load_start

MODULE = "pipeline.trainer.trainer_single_device"
HISTORY_COLUMNS = ["epoch", "step", "split", "metric", "value"]
HARDWARE_HISTORY = (Metric.HW_LOSS, Metric.PREDICTED_LATENCY, Metric.PREDICTED_ENERGY, Metric.FLOPS_OVER_BUDGET)


@dataclass
class TrainingState:
    """What changes while a run trains, apart from weights and optimiser."""

    epoch: int = 0
    step: int = 0
    train_seconds: float = 0.0
    clips_seen: int = 0
    history: list[tuple[int, int, str, str, float]] = field(default_factory=list)
    best_loss: float = float("inf")
    best_weights: dict[str, Tensor] | None = None
    validations_since_best: int = 0


@dataclass(frozen=True)
class Splits:
    """The three data sets of a run."""

    train: UCF101Dataset
    val: UCF101Dataset
    test: UCF101Dataset


@dataclass(frozen=True)
class Run:
    """The fixed parts of one run; `network` is the plain module inside Fabric's wrapper `model`."""

    cfg: RunConfig
    fabric: lightning_fabric.Fabric
    model: nn.Module
    network: VideoViT | VideoAudioAST
    optimizer: torch.optim.Optimizer
    splits: Splits
    out: Path
    fingerprint: str
    hardware: HardwareTerm | None


def train_single_device(cfg: RunConfig, out: Path, init_from: Path | None = None, *, proxy: Path | None = None) -> None:
    """Train, validate and test one run; write its folder `out` (DESIGN §3, Targets).

    Args:
        cfg: the resolved configuration.
        out: the run folder.
        init_from: weights to start from (safetensors of a model of the same shape).
        proxy: folder of the fitted proxy, for a run with hardware in the loop and `hw.proxy: fitted`.

    Raises:
        ConfigError: early stopping without a validation split, or no epochs without start weights.
        DataError: data or start weights are missing or do not fit.
    """
    if cfg.epochs() == 0 and init_from is None:
        raise ConfigError("training.num_epochs=0 evaluates given weights, but there are none; set init_from")
    run = _set_up(cfg, out, init_from, proxy)
    with exclusive(out / ".lock") if run.fabric.is_global_zero else contextlib.nullcontext():
        run.fabric.barrier()
        _describe(run)
        state = _resume(run)
        _train(run, state)
        if run.fabric.is_global_zero:
            _finish(run, state)
        run.fabric.barrier()


def _set_up(cfg: RunConfig, out: Path, init_from: Path | None, proxy: Path | None) -> Run:
    torch.set_num_threads(cfg.training.threads)
    fabric = lightning_fabric.Fabric(
        accelerator=cfg.training.device, devices=cfg.training.devices, precision=cfg.training.precision
    )
    fabric.launch()
    splits = Splits(*(UCF101Dataset(cfg, split) for split in ("train", "val", "test")))
    if cfg.training.early_stop_patience and not len(splits.val):
        raise ConfigError("training.early_stop_patience needs a validation split; set data.val_groups above 0")
    statistics = splits.train.audio_statistics() if cfg.data.use_audio else None
    network = build_model(cfg, splits.train.num_classes, statistics)
    if init_from is not None:
        load_start(network, init_from)
    optimizer = torch.optim.AdamW(parameter_groups(network), lr=cfg.training.lr, weight_decay=cfg.training.weight_decay)
    model, optimizer = fabric.setup(network, optimizer)
    identity = run_fingerprint(cfg, MODULE, _inputs(cfg, init_from, proxy))
    hardware = hardware_term(cfg, proxy) if cfg.hw.use_hw_loss else None
    return Run(cfg, fabric, model, network, optimizer, splits, out, identity, hardware)


def _inputs(cfg: RunConfig, init_from: Path | None, proxy: Path | None) -> list[Path]:
    """The files whose content decides the run; the tables carry the recipes of frames and sound."""
    root = Path(cfg.data.root)
    lists = Path(cfg.data.splits_root or root / "splits")
    candidates = [root / "manifest.parquet", *sorted(lists.glob("*.txt"))]
    if cfg.data.use_audio:
        candidates.append(root / "audio.parquet")
    if cfg.data.truth is not None and cfg.training.mode != "dense_baseline":
        candidates.append(Path(cfg.data.truth))
    if init_from is not None:
        candidates.append(init_from)
    if proxy is not None:
        candidates += sorted(proxy.glob("*.safetensors"))
    return [path for path in candidates if path.is_file()]


def task_loss(
    branch_logits: list[tuple[Float[Tensor, "B C"], Float[Tensor, " B"]]],
    labels: Int[Tensor, " B"],
    label_smoothing: float,
) -> Float[Tensor, ""]:
    """Sum over nets of the mean cross-entropy over the samples that count for that net, in nat."""
    total = branch_logits[0][0].new_zeros(())
    for logits, weight in branch_logits:
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)
        total = total + (losses * weight).sum() / weight.sum().clamp_min(1.0)
    return total


def _describe(run: Run) -> None:
    if not run.fabric.is_global_zero:
        return
    cfg = run.cfg
    counts = ", ".join(f"{name} {len(getattr(run.splits, name).videos)}" for name in ("train", "val", "test"))
    print(f"{cfg.experiment} seed {cfg.seed}: videos {counts}; input {cfg.data.input}; {run.fabric.device}", flush=True)
    if cfg.data.splits == "by_time":
        print("splits by_time: the same videos are in train, val and test, cut in time; no claim of generalisation")


def _resume(run: Run) -> TrainingState:
    saved = open_checkpoint(run.out / "checkpoint", run.fingerprint)
    if saved is None:
        return TrainingState()
    run.network.load_state_dict(saved["network"])
    run.optimizer.load_state_dict(saved["optimizer"])
    state = TrainingState(**saved["state"])
    for epoch in range(1, state.epoch + 1):
        print(_epoch_line(state, epoch, run.cfg.epochs()))
    print(f"resumed after epoch {state.epoch}", flush=True)
    return state


def _train(run: Run, state: TrainingState) -> None:
    training = run.cfg.training
    write_progress = progress_writer(run.out / "progress.json")
    began = time.perf_counter()
    first_epoch = state.epoch
    while state.epoch < run.cfg.epochs() and not _stopped_early(training, state):
        _train_epoch(run, state)
        state.epoch += 1
        due = state.epoch == run.cfg.epochs() or state.epoch % training.eval_every_epochs == 0
        if due and len(run.splits.val):
            _validate(run, state)
        if run.fabric.is_global_zero:
            _save(run, state)
            eta_s = (time.perf_counter() - began) / (state.epoch - first_epoch) * (run.cfg.epochs() - state.epoch)
            metric, value = state.history[-1][3:]
            write_progress(
                Progress(run.cfg.experiment, "train", state.epoch, run.cfg.epochs(), metric, value, round(eta_s, 1))
            )
            print(_epoch_line(state, state.epoch, run.cfg.epochs()), flush=True)
    if training.early_stop_patience and state.best_weights is not None:
        print(f"weights of the best validation, nll {state.best_loss:.4g}", flush=True)
        run.network.load_state_dict(state.best_weights)


def _stopped_early(training: TrainingConfig, state: TrainingState) -> bool:
    return 0 < training.early_stop_patience <= state.validations_since_best


def _train_epoch(run: Run, state: TrainingState) -> None:
    cfg, fabric, training = run.cfg, run.fabric, run.cfg.training
    # Dropout and modality drop use torch's global generator: seeding it per epoch makes a resumed run equal.
    torch.manual_seed(hash((cfg.seed, state.epoch, fabric.global_rank)) % 2**63)
    run.model.train()
    loader = make_loader(run.splits.train, state.epoch, fabric.global_rank, fabric.world_size)
    total_steps = len(loader) * run.cfg.epochs()
    losses: list[list[float]] = []
    start = time.perf_counter()
    for batch in with_bar(loader, f"epoch {state.epoch + 1}/{run.cfg.epochs()}"):
        factor = learning_rate_factor(state.step, total_steps, training.warmup_steps, training.final_lr_ratio)
        losses.append(_train_step(run, batch, training.lr * factor, state.step, total_steps))
        state.step += 1
        state.clips_seen += len(batch["label"])
    advance_schedules(run.network, state.step / total_steps)
    state.train_seconds += time.perf_counter() - start
    means = torch.as_tensor(fabric.all_reduce(torch.tensor(losses).mean(dim=0), reduce_op="mean")).tolist()
    values = {str(Metric.TRAIN_LOSS): means[0], str(Metric.LEARNING_RATE): training.lr * factor}
    if has_pruner(run.network):
        values |= {str(Metric.AST_LOSS): means[1], **sparsity_history(run.network)}
    if run.hardware is not None:
        values |= {str(metric): mean for metric, mean in zip(HARDWARE_HISTORY, means[2:], strict=True)}
    state.history += [(state.epoch + 1, state.step, "train", name, value) for name, value in values.items()]


def _train_step(run: Run, batch: dict[str, Any], lr: float, step: int, total_steps: int) -> list[float]:
    """Optimiser step number `step`, from 0; the task's loss, L_AST (0 without a pruner), and hardware's figures."""
    training, device = run.cfg.training, run.fabric.device
    set_learning_rates(run.optimizer, lr, run.cfg.ast, step, total_steps)
    advance_schedules(run.network, step / total_steps)
    _, info = forward_batch(run.model, batch, device)
    loss = task_loss(info["branch_logits"], batch["label"].to(device), training.label_smoothing)
    ast_loss = info.get("L_AST", loss.new_zeros(()))
    total = loss + run.cfg.loss.lambda_AST * ast_loss
    figures: list[float] = []
    if run.hardware is not None:
        hw_loss, stats = run.hardware.loss(info["gates"], phase_at(run.cfg.ast, step / total_steps).target_ramp)
        total = total + run.cfg.loss.lambda_hw * hw_loss
        figures = [stats[str(metric)] for metric in HARDWARE_HISTORY]
    run.optimizer.zero_grad(set_to_none=True)
    run.fabric.backward(total)
    for branch in run.network.branches():
        nn.utils.clip_grad_norm_(branch.parameters(), training.grad_clip)
    run.optimizer.step()
    value = loss.detach().item()
    if not math.isfinite(value):
        raise ConfigError(f"training.lr={training.lr}: the loss became {value}; lower it or training.grad_clip")
    return [value, ast_loss.detach().item(), *figures]


def _validate(run: Run, state: TrainingState) -> None:
    metrics, _ = evaluate(run.splits.val, window_logits(run.network, run.splits.val, run.fabric.device))
    for metric in (Metric.CLIP_TOP1, Metric.VIDEO_NLL, Metric.VIDEO_TOP1):
        state.history.append((state.epoch, state.step, "val", str(metric), metrics[metric]))
    # Before its schedules end a pruned network is not yet the one that will be used.
    if not run.cfg.training.early_stop_patience or not schedules_are_done(run.network):
        return
    state.validations_since_best += 1
    if metrics[Metric.VIDEO_NLL] < state.best_loss:
        state.best_loss = metrics[Metric.VIDEO_NLL]
        state.best_weights = {name: value.detach().cpu().clone() for name, value in run.network.state_dict().items()}
        state.validations_since_best = 0


def _save(run: Run, state: TrainingState) -> None:
    saved: dict[str, Any] = {
        "fingerprint": run.fingerprint,
        "network": run.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "state": vars(state),
    }
    save_checkpoint(run.out / "checkpoint", saved)


def _epoch_line(state: TrainingState, epoch: int, epochs: int) -> str:
    rows = [row for row in state.history if row[0] == epoch and "/" not in row[3]]  # not those of single layers
    latest = {f"{split} {metric}": value for _, _, split, metric, value in rows}
    return f"epoch {epoch}/{epochs}  " + "  ".join(f"{name} {value:.4g}" for name, value in latest.items())


def _finish(run: Run, state: TrainingState) -> None:
    """Choose the sound's weight on val, test once, and write every artefact of the run."""
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
    write_bytes(out / "model.safetensors", save({k: v.contiguous() for k, v in network.state_dict().items()}))
    write_json(out / "design.json", design_of(cfg, network, run.hardware))
    write_parquet(out / "history.parquet", pd.DataFrame(state.history, columns=HISTORY_COLUMNS))
    write_parquet(out / "predictions.parquet", pd.concat(predictions, ignore_index=True))
    write_parquet(out / "cost.parquet", long_table(cfg.experiment, cfg.seed, {"all": _cost(run, state, test_seconds)}))
    if has_pruner(network):
        write_pruning_record(network, run.splits.test, out / "pruning", run.fabric.device)
    metrics = long_table(cfg.experiment, cfg.seed, values)
    if cfg.data.splits == "by_time":
        metrics["note"] = "same videos in all splits, cut in time"
    write_parquet(out / "metrics.parquet", metrics)
    mark_finished(out / "checkpoint")
    for row in metrics[metrics["metric"] == Metric.VIDEO_TOP1].itertuples():
        print(f"{row.split} {row.metric} {row.value:.3f}", flush=True)


def _cost(run: Run, state: TrainingState, test_seconds: float) -> dict[Metric, float]:
    """What the run cost; kept apart from its metrics because clocks differ between equal runs."""
    if run.fabric.device.type == "cuda":
        peak_bytes = torch.cuda.max_memory_allocated(run.fabric.device)
    else:
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cost = {
        Metric.PARAMETERS: float(sum(parameter.numel() for parameter in run.network.parameters())),
        Metric.MACS_PER_CLIP: float(total_macs(run.network)),
        Metric.EVAL_THROUGHPUT: len(run.splits.test) / test_seconds,
        Metric.TRAIN_TIME: state.train_seconds,
        Metric.PEAK_MEMORY: peak_bytes / 1e6,
    }
    network, test, device = run.network, run.splits.test, run.fabric.device
    dense = dense_twin(run.cfg, network, device) if has_pruner(network) else None
    if dense is not None and run.cfg.ast.gates:
        cost |= compact_run(network, test, run.out / "compact.safetensors", device, dense)
    else:
        cost |= forward_times(network, test, device, dense)
    if state.train_seconds:
        cost[Metric.TRAIN_THROUGHPUT] = state.clips_seen / state.train_seconds
    return cost
