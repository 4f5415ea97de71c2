"""What each training stage optimises: electrode and simple model, complex model, all together (plan, part 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..config.cascade_model import CascadeTrainingConfig
from .cascade_models import ComplexModel, SeizureCascade, margin_of
from .losses import complex_loss, electrode_loss, routing_loss, simple_loss, soft_route, sparsity_loss
from .simple_fitting import LR_FACTOR

# Parts of stage 1: all electrodes alike, electrodes by their weights, one electrode. Weights that move before the
# simple model has learned anything follow noise, and the model then specialises on what they happened to favour.
HOLD_SHARE = 1 / 3
SOFT_SHARE = 2 / 3
STAGE_NAMES = ("electrode", "complex", "joint", "quantised")


@dataclass(frozen=True)
class Batch:
    """Windows of one step, the weights of the two classes, and the generator of the electrode noise."""

    signal: Float[Tensor, "B C T"]
    labels: Int[Tensor, " B"]
    class_weights: Float[Tensor, " 2"]
    generator: torch.Generator


@dataclass(frozen=True)
class Stage:
    """One stage: how many epochs, what it moves and how fast, its loss, and the state it puts the network in.

    `prepare` is called before each epoch; `loss` gets the batch and the share of the stage that is over.
    """

    name: str
    epochs: int
    groups: list[dict[str, Any]]
    prepare: Callable[[], None]
    loss: Callable[[Batch, float], Float[Tensor, ""]]


def baseline_stage(model: ComplexModel, cfg: CascadeTrainingConfig) -> Stage:
    """The complex model alone, on all windows: the plan's existing CNN, with stage 2's epochs."""

    def loss(batch: Batch, progress: float) -> Float[Tensor, ""]:
        return simple_loss(model(batch.signal), batch.labels, batch.class_weights, cfg.label_smoothing)

    groups = [_group(model, cfg.lr, cfg.weight_decay)]
    return Stage("complex", cfg.stage_epochs[1], groups, lambda: _only_train(model, [model]), loss)


def cascade_stages(cascade: SeizureCascade, cfg: CascadeTrainingConfig) -> list[Stage]:
    """The three stages of the cascade."""
    simple_lr = LR_FACTOR[cascade.simple.variant]
    selector, simple, complex_ = cascade.selector, cascade.simple, cascade.complex

    def first(batch: Batch, progress: float) -> Float[Tensor, ""]:
        anneal_selector(cascade, cfg, progress)
        if selector.hard:
            return _simple_terms(cascade, cfg, batch, cascade.simple_logits(batch.signal))
        if cfg.mixing == "signals":
            logits = cascade.simple_logits(batch.signal, generator=batch.generator)
            return _simple_terms(cascade, cfg, batch, logits)
        return _expected_terms(cascade, cfg, batch, held=progress < HOLD_SHARE)

    def second(batch: Batch, progress: float) -> Float[Tensor, ""]:
        with torch.no_grad():
            logits = cascade.simple_logits(batch.signal)
        return cfg.weight_complex * _complex_term(cascade, cfg, batch, logits)

    def third(batch: Batch, progress: float) -> Float[Tensor, ""]:
        anneal_selector(cascade, cfg, 1.0)
        logits = cascade.simple_logits(batch.signal)
        route = soft_route(logits, margin_of(cfg.threshold), cfg.routing_temperature)
        terms = _simple_terms(cascade, cfg, batch, logits) + cfg.weight_complex * _complex_term(
            cascade, cfg, batch, logits
        )
        return terms + cfg.weight_routing * routing_loss(route, cfg.target_calls)

    def everything() -> None:
        _only_train(cascade, [selector, simple, complex_])
        # Statistics of normalisation stay those of stages 1 and 2: they are folded into weights for the hardware.
        for layer in cascade.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.eval()

    one, two, three = cfg.stage_epochs
    return [
        Stage(
            "electrode",
            one,
            [_group(selector, cfg.selector_lr, 0.0), _group(simple, cfg.lr * simple_lr, cfg.weight_decay)],
            lambda: _only_train(cascade, [selector, simple]),
            first,
        ),
        Stage(
            "complex",
            two,
            [_group(complex_, cfg.lr, cfg.weight_decay)],
            lambda: _only_train(cascade, [complex_]),
            second,
        ),
        Stage(
            "joint",
            three,
            [
                _group(selector, cfg.joint_lr, 0.0),
                _group(simple, cfg.joint_lr * simple_lr, cfg.weight_decay),
                _group(complex_, cfg.joint_lr, cfg.weight_decay),
            ],
            everything,
            third,
        ),
    ]


def anneal_selector(cascade: SeizureCascade, cfg: CascadeTrainingConfig, progress: float) -> None:
    """Cool the electrode weights geometrically over the first two thirds, fade the content term, then go hard."""
    share = min(1.0, progress / SOFT_SHARE)
    ratio = cfg.end_temperature / cfg.start_temperature
    cascade.selector.temperature = cfg.start_temperature * ratio**share
    cascade.selector.content_scale = 1.0 - share
    cascade.selector.hard = progress >= SOFT_SHARE


def _expected_terms(
    cascade: SeizureCascade, cfg: CascadeTrainingConfig, batch: Batch, *, held: bool
) -> Float[Tensor, ""]:
    """The simple model's loss on every electrode by itself, weighted by the electrode weights.

    While `held`, the weights stay as they are and only the simple model learns.
    """
    chosen, weights = cascade.selector.draw(batch.signal, cfg.electrodes_per_step, batch.generator)
    weights = weights.detach() if held else weights
    logits = cascade.simple(batch.signal[:, chosen].flatten(0, 1)).unflatten(0, weights.shape)
    classification = electrode_loss(logits, weights, batch.labels, batch.class_weights, cfg.label_smoothing)
    if held:
        return cfg.weight_simple * classification
    return cfg.weight_simple * classification + cfg.weight_sparsity * sparsity_loss(cascade.selector.weights())


def _simple_terms(
    cascade: SeizureCascade, cfg: CascadeTrainingConfig, batch: Batch, logits: Float[Tensor, "B 2"]
) -> Float[Tensor, ""]:
    classification = simple_loss(logits, batch.labels, batch.class_weights, cfg.label_smoothing)
    return cfg.weight_simple * classification + cfg.weight_sparsity * sparsity_loss(cascade.selector.weights())


def _complex_term(
    cascade: SeizureCascade, cfg: CascadeTrainingConfig, batch: Batch, simple_logits: Float[Tensor, "B 2"]
) -> Float[Tensor, ""]:
    route = soft_route(simple_logits, margin_of(cfg.threshold), cfg.routing_temperature)
    return complex_loss(
        cascade.complex_logits(batch.signal),
        batch.labels,
        batch.class_weights,
        route,
        cfg.complex_floor,
        cfg.label_smoothing,
    )


def _only_train(whole: nn.Module, parts: list[nn.Module]) -> None:
    """Put `parts` in training mode and leave the rest of `whole` as it would be deployed."""
    whole.eval()
    for part in parts:
        part.train()


def _group(module: nn.Module, lr: float, weight_decay: float) -> dict[str, Any]:
    return {"params": list(module.parameters()), "lr": lr, "peak_lr": lr, "weight_decay": weight_decay}
