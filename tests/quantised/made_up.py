"""Cascades with made-up weights: every kind of layer, statistics of normalisation that are not the initial ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from pipeline.cascade.cascade_models import SeizureCascade, SimpleVariant
from pipeline.quantised.conversion import build_integer_model
from pipeline.quantised.integer_model import IntegerModel
from pipeline.quantised.qat import QuantisedCascade, quantise_cascade
from pipeline.quantised.widths import Widths

ELECTRODE, MASKED, CHANNELS = 2, 1, 3


def made_up_cascade(variant: SimpleVariant, seed: int = 0, *, weight_gain: float = 1.0) -> SeizureCascade:
    """A cascade of `CHANNELS` electrodes whose weights are those of initialisation times `weight_gain`."""
    torch.manual_seed(seed)
    mask = torch.ones(CHANNELS, dtype=torch.bool)
    mask[MASKED] = False
    cascade = SeizureCascade(variant, mask)
    with torch.no_grad():
        cascade.selector.logits[ELECTRODE] = 3.0
        for layer in cascade.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 3.0)
                layer.weight.uniform_(0.5, 2.0)
                layer.bias.normal_()
            if isinstance(layer, nn.Conv1d | nn.Linear):
                layer.weight.mul_(weight_gain)
    return cascade.eval()


def made_up_signal(count: int = 12, seed: int = 1, *, gain: float = 2.0) -> torch.Tensor:
    """Windows [count, CHANNELS, 512] in which channels and instants differ."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, CHANNELS, 512, generator=generator).cumsum(-1)
    noise = noise - noise.mean(-1, keepdim=True)
    return gain * noise / noise.std(-1, keepdim=True) * torch.linspace(0.5, 2.0, CHANNELS)[:, None]


def made_up_quantised(
    variant: SimpleVariant, widths: Widths = "mixed", seed: int = 0, *, weight_gain: float = 1.0, margin: float = 0.25
) -> tuple[QuantisedCascade, IntegerModel]:
    """A quantised cascade in float64 and its integer model."""
    trained = made_up_cascade(variant, seed, weight_gain=weight_gain)
    cascade = quantise_cascade(trained, widths, made_up_signal()).double().eval()
    cascade.margin.fill_(margin)
    return cascade, build_integer_model(cascade, "P1", 512.0)


def with_margin(model: IntegerModel, margin: int) -> IntegerModel:
    """The same networks under another margin in integers."""
    return replace(model, routing=replace(model.routing, margin=margin))
