"""What a run with a pruner adds to training: learning rates of gates, history, metrics, the compacted model."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..config.pruning import PruningConfig
from ..data.target_tokens import target_tokens
from ..data.ucf101 import UCF101Dataset, make_loader
from ..hw_proxy.flops_estimator import total_macs
from ..models.build import build_model
from ..models.compact import compact, gated_part, has_pruner, save_compacted
from ..models.keep_schedule import phase_at
from ..models.video_audio_ast import VideoAudioAST
from ..models.video_vit import VideoViT
from .evaluation import WindowLogits
from .metrics import Metric
from .start_weights import PRUNER

GATES = "gates"
REPEATS = 5
# In a training of a few steps a logit must not jump over zero at once.
MOST_PER_STEP = 0.5
KINDS = {"head": Metric.SPARSITY_HEAD, "channel": Metric.SPARSITY_CHANNEL, "block": Metric.SPARSITY_BLOCK}


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Optimiser groups: weights, and without weight decay the pruner's logits, if there are any."""
    logits: list[nn.Parameter] = []
    weights: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        (logits if PRUNER in name.split(".") else weights).append(parameter)
    groups: list[dict[str, Any]] = [{"params": weights, "name": "weights"}]
    trained = [parameter for parameter in logits if parameter.requires_grad]
    return [*groups, {"params": trained, "name": GATES, "weight_decay": 0.0}] if trained else groups


def set_learning_rates(
    optimizer: torch.optim.Optimizer, lr: float, cfg: PruningConfig, step: int, total_steps: int
) -> None:
    """Weights learn at `lr`; gates ever slower until they freeze, and cover their travel in any number of steps."""
    gate_steps = max(1.0, cfg.gate_freeze * total_steps)
    gate_lr = min(MOST_PER_STEP, 2.0 * cfg.gate_travel / gate_steps) * max(0.0, 1.0 - step / gate_steps)
    for group in optimizer.param_groups:
        group["lr"] = gate_lr if group["name"] == GATES else lr


def advance_schedules(network: VideoViT | VideoAudioAST, progress: float) -> None:
    """Tell the pruner which share of training is done, and settle its gates once they no longer learn (twice is as
    good as once, so a resumed run needs no memory of it)."""
    network.set_training_progress(progress)
    if has_pruner(network):
        pruner, _ = gated_part(network)
        if not phase_at(pruner.cfg, progress).gates_learn:
            pruner.settle_gates()


def schedules_are_done(network: VideoViT | VideoAudioAST) -> bool:
    """Whether a network drops all the tokens it will, and its gates no longer move."""
    if not has_pruner(network):
        return True
    pruner, _ = gated_part(network)
    phase = phase_at(pruner.cfg, pruner.progress)
    return phase.drop_ramp == 1.0 and not phase.gates_learn


def gates_learn(network: VideoViT | VideoAudioAST) -> bool:
    """Whether a network has gates that still move."""
    if not has_pruner(network):
        return False
    pruner, _ = gated_part(network)
    return pruner.ch_logit is not None and phase_at(pruner.cfg, pruner.progress).gates_learn


def sparsity_history(network: VideoViT | VideoAudioAST) -> dict[str, float]:
    """Sparsity by kind and by layer, as rows of the history: `sparsity_head`, `sparsity_head/block0`, ..."""
    pruner, _ = gated_part(network)
    drop_ramp = phase_at(pruner.cfg, pruner.progress).drop_ramp
    dropped = [(1.0 - share) * drop_ramp for share in pruner.final_keep_shares()]
    rows = {str(Metric.SPARSITY_TOKEN): dropped[-1]}
    rows |= {
        f"{Metric.SPARSITY_TOKEN}/block{layer}": value
        for layer, value in zip(pruner.cfg.prune_layers, dropped, strict=True)
    }
    for kind, closed in closed_gates(network).items():
        rows[str(KINDS[kind])] = closed.mean().item()
        rows |= {f"{KINDS[kind]}/block{layer}": share for layer, share in enumerate(closed.mean(dim=1).tolist())}
    return rows


@torch.no_grad()
def closed_gates(network: VideoViT | VideoAudioAST) -> dict[str, Tensor]:
    """1 for each closed gate, 0 for each open one, by kind, as they will be used; empty without gates."""
    pruner, _ = gated_part(network)
    was_training = pruner.training
    gates = pruner.eval().gates()
    pruner.train(was_training)
    if gates is None:
        return {}
    return {"head": 1 - gates.head, "channel": 1 - gates.channel, "block": 1 - gates.block}


def pruning_metrics(
    network: VideoViT | VideoAudioAST, dataset: UCF101Dataset, windows: WindowLogits
) -> dict[Metric, float]:
    """Kept tokens, realised sparsities, and the share of the moving target's tokens that is kept (generated data)."""
    pruner, _ = gated_part(network)
    mask = windows.token_mask
    assert mask is not None
    gated = mask[:, :, : pruner.num_patches]
    metrics = {Metric.KEPT_TOKENS: float(mask.mean()), Metric.SPARSITY_TOKEN: float(1.0 - gated.mean())}
    metrics |= {KINDS[kind]: closed.mean().item() for kind, closed in closed_gates(network).items()}
    if dataset.cfg.data.truth is not None:
        target = target_tokens(dataset, Path(dataset.cfg.data.truth), dataset.cfg.model.patch_size)
        if target.any():
            metrics[Metric.TARGET_TOKENS_KEPT] = float(mask[:, :, : target.shape[2]][target].mean())
    return metrics


def compact_run(
    network: VideoViT | VideoAudioAST,
    dataset: UCF101Dataset,
    path: Path,
    device: torch.device,
    dense: VideoViT | VideoAudioAST,
) -> dict[Metric, float]:
    """Write the compacted model; its size, its time beside the gated model's, and how far their logits differ."""
    smaller = compact(network)
    save_compacted(path, smaller)
    batch = next(iter(make_loader(dataset, None)))
    seconds, logits = _interleaved({"gated": network, "compact": smaller, "dense": dense}, batch, device)
    clips = len(batch["label"])
    return {
        Metric.FORWARD_TIME: 1e3 * seconds["gated"] / clips,
        Metric.DENSE_FORWARD_TIME: 1e3 * seconds["dense"] / clips,
        Metric.COMPACT_FORWARD_TIME: 1e3 * seconds["compact"] / clips,
        Metric.COMPACT_PARAMETERS: float(sum(parameter.numel() for parameter in smaller.parameters())),
        Metric.COMPACT_MACS_PER_CLIP: float(total_macs(smaller)),
        Metric.COMPACT_DIFFERENCE: (logits["gated"] - logits["compact"]).abs().max().item(),
    }


def forward_times(
    network: VideoViT | VideoAudioAST,
    dataset: UCF101Dataset,
    device: torch.device,
    dense: VideoViT | VideoAudioAST | None = None,
) -> dict[Metric, float]:
    """Milliseconds per clip of a forward pass in evaluation, median over a few passes of one batch.

    A pruned network is timed in turns with `dense`, a dense one of its sizes: only their ratio can be compared with
    that of other runs, since a machine is not always equally busy.
    """
    batch = next(iter(make_loader(dataset, None)))
    seconds, _ = _interleaved({"network": network} | ({} if dense is None else {"dense": dense}), batch, device)
    names = {"network": Metric.FORWARD_TIME, "dense": Metric.DENSE_FORWARD_TIME}
    return {names[name]: 1e3 * value / len(batch["label"]) for name, value in seconds.items()}


def dense_twin(cfg: RunConfig, network: VideoViT | VideoAudioAST, device: torch.device) -> VideoViT | VideoAudioAST:
    """A dense network of the same sizes as a pruned one, for timing: its weights are fresh."""
    training = cfg.training.model_copy(update={"mode": "dense_baseline"})
    _, transformer = gated_part(network)
    return build_model(cfg.model_copy(update={"training": training}), transformer.num_classes).to(device)


@torch.no_grad()
def _interleaved(
    networks: dict[str, VideoViT | VideoAudioAST], batch: dict[str, Any], device: torch.device
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Median seconds of a forward pass of each network, taken in turns after one to warm up, and its logits."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    inputs = [batch["video"].to(device), *([batch["audio"].to(device)] if "audio" in batch else [])]
    known = {"has_audio": batch["has_audio"].to(device)} if "audio" in batch else {}
    logits = {name: network.eval()(*inputs, **known) for name, network in networks.items()}
    for _ in range(REPEATS):
        for name, network in networks.items():
            began = time.perf_counter()
            network(*inputs, **known)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}, logits
