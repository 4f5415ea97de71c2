"""One training step of the demo's pruned network without hardware, and its live keep ratios: what L_hw adds to."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pipeline.experiments import resolve_experiment
from pipeline.hw_proxy.workload import KeepRatios
from pipeline.models.build import build_model
from pipeline.trainer.hardware_term import keep_ratios
from pipeline.trainer.pruned_run import advance_schedules, parameter_groups
from pipeline.trainer.trainer_single_device import task_loss

EXPERIMENT, CLASSES = "EXP-P1V-3-ast-no-hw", 6


def training_step() -> tuple[Callable[[], None], Callable[[], KeepRatios]]:
    """The step of `EXP-P1V-3` on `demo`, on noise; and the ratios of its gates, with a graph of their own."""
    cfg = resolve_experiment(EXPERIMENT, "demo", seed=0)
    network = build_model(cfg, CLASSES).train()
    advance_schedules(network, 0.5)
    optimizer = torch.optim.AdamW(parameter_groups(network), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    side, batch = cfg.data.image_size, cfg.data.batch_size
    clips = torch.randn(batch, cfg.data.num_frames, 3, side, side, generator=generator)
    labels = torch.randint(0, CLASSES, (batch,), generator=generator)

    def step() -> None:
        _, info = network(clips, return_intermediate=True)
        loss = task_loss(info["branch_logits"], labels, cfg.training.label_smoothing)
        total = loss + cfg.loss.lambda_AST * info["L_AST"]
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), cfg.training.grad_clip)
        optimizer.step()

    _, info = network(clips, return_intermediate=True)
    leaves = {
        name: value.detach().requires_grad_(True)
        for name, value in info["gates"].items()
        if isinstance(value, torch.Tensor)
    }

    def gates() -> KeepRatios:
        return keep_ratios(leaves, cfg.ast.prune_layers, cfg.model.depth)

    return step, gates
