"""Memory of a layer: its weights, and the activations alive at its peak.

The analytic peak (inputs and outputs of the largest kernel) is a lower bound: kernels keep scratch. A residual factor
per layer type, at least 1, is fitted where a table has measured peaks (`mem_mb`), else it is 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .layer_table import LAYER_TYPES, LayerTable

MB = 1e6


class MemoryModel(nn.Module):
    """Weights + activation peak x residual, with one residual (>= 1) per layer type."""

    residual: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("residual", torch.ones(len(LAYER_TYPES)))

    def forward(self, table: LayerTable) -> Float[Tensor, " L"]:
        """MB of each layer."""
        weights, activations = self.parts(table)
        return weights + activations

    def parts(self, table: LayerTable) -> tuple[Float[Tensor, " L"], Float[Tensor, " L"]]:
        """Weights and activation peak of each layer, MB; a gated layer's weights count by its gate."""
        empty = torch.zeros(table.num_layers, dtype=table.flops.dtype)
        weights = empty.index_add(0, table.layer, table.weight_bytes * table.count.clamp(max=1.0))
        peaks = table.activation_bytes * self.residual[table.layer_type].to(table.flops) * table.count.clamp(max=1.0)
        return weights / MB, empty.scatter_reduce(0, table.layer, peaks, "amax") / MB

    def fit(self, table: LayerTable, mem_mb: Float[Tensor, " L"]) -> None:
        """Set the residual of every layer type among rows with a measured peak (NaN where there is none)."""
        self.residual.fill_(1.0)
        weights, activations = self.parts(table)
        types = torch.zeros(table.num_layers, dtype=torch.long).scatter(0, table.layer, table.layer_type)
        ratio = (mem_mb - weights) / activations.clamp(min=1e-9)
        for number in range(len(LAYER_TYPES)):
            chosen = (types == number) & torch.isfinite(ratio)
            if chosen.any():
                self.residual[number] = ratio[chosen].median().clamp(min=1.0)
