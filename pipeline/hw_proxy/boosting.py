"""Gradient boosting on the spec's features: the rival that wins on random splits (scikit-learn, an optional extra)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import ConfigError
from .layer_features import spec_features
from .measured_table import MeasuredTable, kernel_rows, sample_rows


def boosting_log_ms(
    measured: MeasuredTable, allowed: Bool[Tensor, " N"], rows: Int[Tensor, " n"], rows_per_group: int, seed: int
) -> Float[Tensor, " n"]:
    """Fit on allowed rows that are one kernel and predict the log latency (ms) of `rows`; NaN for whole layers.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError as error:
        raise ConfigError(
            "evaluation.baselines: boosting needs scikit-learn; install the extra `bench`, or leave it out"
        ) from error
    single = kernel_rows(measured)
    fitted = sample_rows(measured, allowed & single, rows_per_group, seed)
    model = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.1, max_leaf_nodes=63, random_state=seed)
    model.fit(_features(measured, fitted), measured.latency_ms[fitted].log().numpy())
    predicted = torch.full((len(rows),), torch.nan)
    chosen = single[rows]
    if chosen.any():
        predicted[chosen] = torch.tensor(model.predict(_features(measured, rows[chosen]))).float()
    return predicted


def _features(measured: MeasuredTable, rows: Int[Tensor, " n"]) -> Float[Tensor, "n F"]:
    """The spec's vector and the sizes of the kernel, as a boosting user would give them."""
    table = measured.layers.select(torch.searchsorted(measured.layers.layer, rows))
    sizes = torch.stack([table.groups, table.rows, table.columns, table.depth, table.window], dim=1)
    return torch.cat([spec_features(table, measured.devices.select(measured.device[rows])), sizes], dim=1)
