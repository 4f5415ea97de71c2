"""The four terms of the cascade's loss, in forms that have the gradient the plan wants of them (part 3).

    L = a1 L_simple + a2 L_complex + a3 L_routing + a4 L_sparsity

Three of the plan's forms cannot train: an L1 norm of softmax weights is always 1, a hard mask on the complex model's
loss leaves it without windows once the simple model is sure, and a routing penalty alone rewards overconfidence.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor

from .cascade_models import logit_margin


def class_weights(labels: Int[Tensor, " N"]) -> Float[Tensor, " 2"]:
    """Weights that make both classes count the same: N / (2 N_k); a class that is absent weighs nothing."""
    counts = torch.bincount(labels, minlength=2).float()
    return torch.where(counts > 0, counts.sum() / (2.0 * counts.clamp_min(1.0)), 0.0)


def simple_loss(
    logits: Float[Tensor, "B 2"], labels: Int[Tensor, " B"], weights: Float[Tensor, " 2"], smoothing: float
) -> Float[Tensor, ""]:
    """Class-weighted cross-entropy with label smoothing, in nat."""
    return _weighted_mean(logits, labels, weights[labels], smoothing)


def electrode_loss(
    logits: Float[Tensor, "B M 2"],
    electrode_weights: Float[Tensor, "B M"],
    labels: Int[Tensor, " B"],
    weights: Float[Tensor, " 2"],
    smoothing: float,
) -> Float[Tensor, ""]:
    """`simple_loss` expected over the electrode: each electrode's own loss, weighted by the electrode weights.

    Its gradient moves weight to the electrodes of the smallest loss, without noise. Mixing signals instead asks which
    waveform to add more of, and electrodes have no phase in common.
    """
    count = logits.shape[1]
    losses = F.cross_entropy(
        logits.flatten(0, 1), labels.repeat_interleave(count), reduction="none", label_smoothing=smoothing
    )
    expected = (losses.unflatten(0, (len(labels), count)) * electrode_weights).sum(1)
    weight = weights[labels]
    return (weight * expected).sum() / weight.sum().clamp_min(1.0)


def soft_route(logits: Float[Tensor, "B 2"], margin: float, temperature: float) -> Float[Tensor, " B"]:
    """How much a window is the complex model's: sigmoid((margin - |l1 - l0|) / temperature)."""
    return torch.sigmoid((margin - logit_margin(logits)) / temperature)


def complex_loss(
    logits: Float[Tensor, "B 2"],
    labels: Int[Tensor, " B"],
    weights: Float[Tensor, " 2"],
    route: Float[Tensor, " B"],
    floor: float,
    smoothing: float,
) -> Float[Tensor, ""]:
    """Cross-entropy in which doubtful windows weigh 1 and sure ones `floor`; `route` gets no gradient from it."""
    return _weighted_mean(logits, labels, weights[labels] * (floor + (1.0 - floor) * route.detach()), smoothing)


def routing_loss(route: Float[Tensor, " B"], target: float) -> Float[Tensor, ""]:
    """Square of the mean share of calls above its target, zero below it."""
    return (route.mean() - target).clamp_min(0.0).square()


def sparsity_loss(electrode_weights: Float[Tensor, " C"]) -> Float[Tensor, ""]:
    """1 - sum w^2: zero for one electrode, 1 - 1/C when even. Entropy would do, but has no gradient at masked ones."""
    return 1.0 - electrode_weights.square().sum()


def _weighted_mean(
    logits: Float[Tensor, "B 2"], labels: Int[Tensor, " B"], weight: Float[Tensor, " B"], smoothing: float
) -> Float[Tensor, ""]:
    losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    return (weight * losses).sum() / weight.sum().clamp_min(1.0)
