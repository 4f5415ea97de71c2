"""The spec's literal proxy (§7.1, 7.2): log latency straight from the spec's feature vector (`mode: direct`).

It stands beside the default for comparison: nothing in it knows that a peak divides a time, so it interpolates well
between measured devices and says little about a new one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .device_table import DeviceTable
from .latency_fit import FitSettings, batches, lopsided_loss
from .layer_features import SPEC_FEATURES, spec_features
from .layer_proxy_model import LayerProxyModel
from .layer_table import LayerTable


class DirectModel(nn.Module):
    """A `LayerProxyModel` from the spec's vector to log latency (ms)."""

    def __init__(self, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        self.network = LayerProxyModel(len(SPEC_FEATURES), hidden, 1)

    def forward(self, table: LayerTable, devices: DeviceTable) -> Float[Tensor, " P"]:
        """Logarithm of the latency (ms) of kernel i on device i, one launch."""
        return self.network(spec_features(table, devices))[:, 0]


def fit_direct(
    table: LayerTable,
    devices: DeviceTable,
    device_of_row: Int[Tensor, " R"],
    latency_ms: Float[Tensor, " R"],
    settings: FitSettings,
    seed: int,
) -> DirectModel:
    """Fit with the same loss, optimiser and schedule as the default (`latency_fit.fit_latency`)."""
    torch.manual_seed(seed)
    model = DirectModel(settings.hidden)
    features = spec_features(table, devices.select(device_of_row))
    model.network.standardise(features)
    target = latency_ms.log()
    with torch.no_grad():
        model.network.last.bias.copy_(target.mean())
    steps = max(1, settings.epochs * (len(table) // settings.batch))
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=settings.learning_rate, total_steps=steps + 1, pct_start=0.2
    )
    for rows in batches(len(table), settings.batch, steps):
        predicted = model.network(features[rows])[:, 0]
        loss = lopsided_loss(predicted - target[rows], settings)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()
