"""The fixed parts of one training run, as both trainers set them up: device, data, network, optimiser, identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning_fabric
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..config import RunConfig
from ..data.ucf101 import UCF101Dataset
from ..errors import ConfigError
from ..models.build import build_model
from ..models.video_audio_ast import VideoAudioAST
from ..models.video_vit import VideoViT
from .checkpoint import run_fingerprint
from .hardware_term import HardwareTerm
from .pruned_run import parameter_groups
from .start_weights import load_start

HISTORY_COLUMNS = ["epoch", "step", "split", "metric", "value"]


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
    hardware: HardwareTerm | None = None


def set_up_run(cfg: RunConfig, out: Path, init_from: Path | None, *, module: str, inputs: Sequence[Path] = ()) -> Run:
    """Launch Fabric, open the data, build the network and load its start.

    Args:
        cfg: the resolved configuration.
        out: the run folder.
        init_from: weights to start from.
        module: the trainer; its sources are part of the run's identity.
        inputs: files besides data and start weights whose content decides the run.

    Raises:
        ConfigError: early stopping without a validation split.
        DataError: data or start weights are missing or do not fit.
    """
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
    identity = run_fingerprint(cfg, module, [*data_files(cfg), *([init_from] if init_from else []), *inputs])
    return Run(cfg, fabric, model, network, optimizer, splits, out, identity)


def data_files(cfg: RunConfig) -> list[Path]:
    """The tables and lists of the data; the tables carry the recipes of frames and sound."""
    root = Path(cfg.data.root)
    lists = Path(cfg.data.splits_root or root / "splits")
    candidates = [root / "manifest.parquet", *sorted(lists.glob("*.txt"))]
    if cfg.data.use_audio:
        candidates.append(root / "audio.parquet")
    if cfg.data.truth is not None and cfg.training.mode != "dense_baseline":
        candidates.append(Path(cfg.data.truth))
    return [path for path in candidates if path.is_file()]


def describe_run(run: Run) -> None:
    """Print what is trained on what."""
    cfg = run.cfg
    counts = ", ".join(f"{name} {len(getattr(run.splits, name).videos)}" for name in ("train", "val", "test"))
    print(f"{cfg.experiment} seed {cfg.seed}: videos {counts}; input {cfg.data.input}; {run.fabric.device}", flush=True)
    if cfg.data.splits == "by_time":
        print("splits by_time: the same videos are in train, val and test, cut in time; no claim of generalisation")


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


def epoch_line(history: Sequence[tuple[int, int, str, str, float]], epoch: int, epochs: int) -> str:
    """The log's line of one finished epoch."""
    rows = [row for row in history if row[0] == epoch and "/" not in row[3]]  # not those of single layers
    latest = {f"{split} {metric}": value for _, _, split, metric, value in rows}
    return f"epoch {epoch}/{epochs}  " + "  ".join(f"{name} {value:.4g}" for name, value in latest.items())
