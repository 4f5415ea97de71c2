"""What quantisation-aware training optimises: the cascade's joint loss, through the rounding (straight-through)."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from ..cascade.cascade_models import SimpleVariant, margin_of
from ..cascade.losses import complex_loss, routing_loss, simple_loss, soft_route
from ..cascade.simple_fitting import LR_FACTOR
from ..cascade.training_stages import Batch, Stage
from ..config.cascade_model import CascadeTrainingConfig
from ..config.quantisation import QuantisationConfig
from .qat import QuantisedCascade, QuantisedNetwork

STAGE_NAME = "quantised"


def quantised_stage(
    cascade: QuantisedCascade, variant: SimpleVariant, training: CascadeTrainingConfig, cfg: QuantisationConfig
) -> Stage:
    """The one stage of EXP-C4-qat: stage 3 of the cascade with rounded weights and activations.

    Nothing is decayed: decay would shrink weights on a grid whose step stays.
    """

    def loss(batch: Batch, progress: float) -> Float[Tensor, ""]:
        simple = cascade.simple_logits(batch.signal)
        route = soft_route(simple, margin_of(training.threshold), training.routing_temperature)
        answered = simple_loss(simple, batch.labels, batch.class_weights, training.label_smoothing)
        asked = complex_loss(
            cascade.complex_logits(batch.signal),
            batch.labels,
            batch.class_weights,
            route,
            training.complex_floor,
            training.label_smoothing,
        )
        return (
            training.weight_simple * answered
            + training.weight_complex * asked
            + training.weight_routing * routing_loss(route, training.target_calls)
        )

    def prepare() -> None:
        cascade.train()

    groups = [_group(cascade.simple, cfg.lr * LR_FACTOR[variant]), _group(cascade.complex, cfg.lr)]
    return Stage(STAGE_NAME, cfg.epochs, groups, prepare, loss)


def _group(network: QuantisedNetwork, lr: float) -> dict[str, Any]:
    return {"params": list(network.parameters()), "lr": lr, "peak_lr": lr, "weight_decay": 0.0}
