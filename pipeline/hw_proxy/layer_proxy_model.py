"""`LayerProxyModel`: the small network inside a proxy (spec §7.1)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerProxyModel(nn.Module):
    """in_dim -> hidden -> ... -> out_dim with SiLU between, on inputs standardised as in training.

    Inputs are clamped to the range seen in training: a network says nothing about what lies beyond.
    """

    mean: Tensor
    scale: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, in_dim: int, hidden: Sequence[int] = (64, 64), out_dim: int = 2) -> None:
        super().__init__()
        widths = [in_dim, *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.SiLU()]
        self.hidden = nn.Sequential(*layers)
        self.last = nn.Linear(widths[-1], out_dim)
        nn.init.normal_(self.last.weight, std=0.1 / widths[-1] ** 0.5)
        nn.init.zeros_(self.last.bias)
        for name, value in (("mean", 0.0), ("scale", 1.0), ("least", -torch.inf), ("most", torch.inf)):
            self.register_buffer(name, torch.full((in_dim,), value))

    def standardise(self, inputs: Float[Tensor, "P F"]) -> None:
        """Remember mean, spread and range of the training inputs."""
        self.mean.copy_(inputs.mean(0))
        self.scale.copy_(inputs.std(0).clamp(min=0.05))
        self.least.copy_(inputs.amin(0))
        self.most.copy_(inputs.amax(0))

    def forward(self, inputs: Float[Tensor, "P F"]) -> Float[Tensor, "P out"]:
        """Raw outputs of each row."""
        bounded = torch.clamp(inputs, self.least, self.most)
        return self.last(self.hidden((bounded - self.mean) / self.scale))
