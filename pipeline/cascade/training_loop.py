"""Running stages epoch by epoch, with a checkpoint after each: a killed run continues to the same numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..config.cascade import CascadeConfig
from ..data.ieeg_windows import IeegWindows
from ..errors import ConfigError
from ..progress import Progress, progress_writer
from ..trainer.checkpoint import open_checkpoint, save_checkpoint
from ..trainer.schedule import learning_rate_factor
from .losses import class_weights
from .sampling import epoch_batches
from .simple_fitting import FINAL_LR_RATIO
from .training_stages import STAGE_NAMES, Batch, Stage

Validate = Callable[[str], dict[str, float]]


@dataclass
class TrainingState:
    """What changes while a run trains, apart from weights and optimiser; `epoch` counts within the stage."""

    stage: int = 0
    epoch: int = 0
    train_seconds: float = 0.0
    windows_seen: int = 0
    history: list[tuple[str, int, str, str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """The fixed parts of one training run.

    `validate` gives the validation metrics worth a curve in a stage, by the stage's name.
    """

    cfg: CascadeConfig
    title: str
    network: nn.Module
    stages: list[Stage]
    windows: IeegWindows
    validate: Validate
    device: torch.device
    out: Path
    fingerprint: str


def run_stages(job: Job) -> TrainingState:
    """Train all stages, continuing an interrupted run of the same fingerprint.

    Raises:
        ConfigError: the loss is no longer finite.
        DataError: a checkpoint is damaged.
    """
    state, optimizer_state = _resume(job)
    write_progress = progress_writer(job.out / "progress.json")
    total = sum(stage.epochs for stage in job.stages)
    while state.stage < len(job.stages):
        stage = job.stages[state.stage]
        optimizer = torch.optim.AdamW(stage.groups)
        if optimizer_state is not None:
            optimizer.load_state_dict(optimizer_state)
            optimizer_state = None
        while state.epoch < stage.epochs:
            loss = _train_epoch(job, state, stage, optimizer)
            _record(job, state, stage, loss)
            _save(job, state, optimizer)
            done = sum(earlier.epochs for earlier in job.stages[: state.stage]) + state.epoch
            _, _, _, metric, value = state.history[-1]
            write_progress(Progress(job.title, stage.name, done, total, metric, value))
        state.stage, state.epoch = state.stage + 1, 0
    job.network.eval()
    return state


def _resume(job: Job) -> tuple[TrainingState, dict[str, Any] | None]:
    saved = open_checkpoint(job.out / "checkpoint", job.fingerprint)
    if saved is None:
        return TrainingState(), None
    job.network.load_state_dict(saved["network"])
    state = TrainingState(**saved["state"])
    print(f"resumed in stage {job.stages[state.stage].name} after epoch {state.epoch}", flush=True)
    return state, saved["optimizer"]


def _train_epoch(job: Job, state: TrainingState, stage: Stage, optimizer: torch.optim.Optimizer) -> float:
    training = job.cfg.training
    # The complex stage draws the same batches in the baseline and in the cascade, which makes their comparison paired.
    key = (job.cfg.seed, STAGE_NAMES.index(stage.name), state.epoch)
    # Dropout draws from torch's global generator: seeding it per epoch makes a resumed run equal.
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence((*key, 1)).generate_state(1)[0]))
    labels = job.windows.labels
    batches = epoch_batches(labels, training.batch_size, training.interictal_per_ictal, key)
    weights = class_weights(torch.from_numpy(labels[np.concatenate(batches)])).to(job.device)
    stage.prepare()
    began = time.perf_counter()
    losses = []
    for number, positions in enumerate(batches):
        step, steps = state.epoch * len(batches) + number, stage.epochs * len(batches)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * learning_rate_factor(step, steps, steps // 20, FINAL_LR_RATIO)
        batch = Batch(
            torch.from_numpy(job.windows.read(positions)).to(job.device),
            torch.from_numpy(labels[positions]).to(job.device),
            weights,
            generator,
        )
        losses.append(_step(stage, batch, step / steps, optimizer, training.grad_clip))
    state.train_seconds += time.perf_counter() - began
    state.windows_seen += sum(map(len, batches))
    state.epoch += 1
    return float(np.mean(losses))


def _step(stage: Stage, batch: Batch, progress: float, optimizer: torch.optim.Optimizer, clip: float) -> float:
    loss = stage.loss(batch, progress)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimizer.param_groups:
        nn.utils.clip_grad_norm_(group["params"], clip)
    optimizer.step()
    value = loss.detach().item()
    if not math.isfinite(value):
        raise ConfigError(f"stage {stage.name}: the loss became {value}; lower training.lr or training.joint_lr")
    return value


def _record(job: Job, state: TrainingState, stage: Stage, loss: float) -> None:
    state.history.append((stage.name, state.epoch, "train", "train_loss", loss))
    values = job.validate(stage.name)
    state.history += [(stage.name, state.epoch, "val", name, value) for name, value in values.items()]
    shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
    print(f"{stage.name} {state.epoch}/{stage.epochs}  loss {loss:.4g}  {shown}", flush=True)


def _save(job: Job, state: TrainingState, optimizer: torch.optim.Optimizer) -> None:
    saved: dict[str, Any] = {
        "fingerprint": job.fingerprint,
        "network": job.network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "state": vars(state),
    }
    save_checkpoint(job.out / "checkpoint", saved)
