"""Training on one device (or one per process with DDP): spec §13.1.

    L = sum over separately trained nets of cross-entropy(logits, label)
        + lambda_AST · L_AST (with a pruner) + lambda_hw · L_hw (with hardware in the loop)

A run is a function of its resolved configuration, its data and its code: every random choice comes from
(seed, epoch, index), so a run that was killed and resumed ends with the same numbers as one that was not.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..artifacts import exclusive
from ..config import RunConfig, TrainingConfig
from ..data.ucf101 import make_loader
from ..errors import ConfigError
from ..models.compact import has_pruner
from ..models.keep_schedule import phase_at
from ..progress import Progress, progress_writer, with_bar
from .checkpoint import open_checkpoint, save_checkpoint
from .evaluation import evaluate, forward_batch, window_logits
from .gate_budget import flops_at_targets, settle_within_budget
from .hardware_term import design_of, hardware_term
from .metrics import Metric
from .pruned_run import advance_schedules, gates_learn, schedules_are_done, set_learning_rates, sparsity_history
from .run_results import Training, write_results
from .schedule import learning_rate_factor
from .training_run import Run, describe_run, epoch_line, set_up_run, task_loss

MODULE = "pipeline.trainer.trainer_single_device"
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
    fitted = [] if proxy is None else sorted(proxy.glob("*.safetensors"))
    run = set_up_run(cfg, out, init_from, module=MODULE, inputs=fitted)
    run = replace(run, hardware=hardware_term(cfg, proxy)) if cfg.hw.use_hw_loss else run
    with exclusive(out / ".lock") if run.fabric.is_global_zero else contextlib.nullcontext():
        run.fabric.barrier()
        if run.fabric.is_global_zero:
            describe_run(run)
        state = _resume(run)
        _train(run, state)
        if run.fabric.is_global_zero:
            training = Training(state.history, state.train_seconds, state.clips_seen)
            write_results(run, training, design_of(cfg, run.network, run.hardware))
        run.fabric.barrier()


def _resume(run: Run) -> TrainingState:
    saved = open_checkpoint(run.out / "checkpoint", run.fingerprint)
    if saved is None:
        return TrainingState()
    run.network.load_state_dict(saved["network"])
    run.optimizer.load_state_dict(saved["optimizer"])
    state = TrainingState(**saved["state"])
    for epoch in range(1, state.epoch + 1):
        print(epoch_line(state.history, epoch, run.cfg.epochs()))
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
            print(epoch_line(state.history, state.epoch, run.cfg.epochs()), flush=True)
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
    _advance(run, state.step / total_steps)
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
    _advance(run, step / total_steps)
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


def _advance(run: Run, progress: float) -> None:
    """Move the schedules on; where gates stop learning, channels without a target are rounded to the budget."""
    learned = gates_learn(run.network)
    advance_schedules(run.network, progress)
    budgeted = run.cfg.hw.use_hw_loss and run.cfg.hw.lambda_macs > 0.0 and run.cfg.ast.lambda_ch == 0.0
    if budgeted and learned and not gates_learn(run.network):
        settle_within_budget(run.cfg, run.network, flops_at_targets(run.cfg, run.network))


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
