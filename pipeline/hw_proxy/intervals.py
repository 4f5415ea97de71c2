"""Prediction intervals from errors on devices that were left out.

For each layer type, the interval spans the outer quantiles of log(measured / predicted) over rows whose device the
prediction had never seen, every device counting the same, widened by four parts in the number of devices: few
devices do not show how odd the next one may be. Types without such rows take the quantiles of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LEAST_SPREAD = 0.02


@dataclass(frozen=True)
class Intervals:
    """Log-latency intervals: prediction + [low, high] per layer type; `other` is for types without errors."""

    bounds: dict[str, tuple[float, float]]

    def of(self, layer_types: Sequence[str]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Lower and upper offset of each row."""
        pairs = [self.bounds.get(name, self.bounds["other"]) for name in layer_types]
        low, high = np.array(pairs).T if pairs else np.zeros((2, 0))
        return low, high


def fit_intervals(
    error: Float[np.ndarray, " n"], devices: Sequence[str], layer_types: Sequence[str], coverage: float
) -> Intervals:
    """Intervals from errors log(measured / predicted), with every device counting the same.

    Args:
        error: of rows whose device the prediction had not seen.
        devices, layer_types: of each row.
        coverage: share of rows to cover.
    """
    where, kinds = np.asarray(devices), np.asarray(layer_types)
    bounds = {"other": _quantiles(error, where, coverage)}
    for kind in np.unique(kinds):
        chosen = kinds == kind
        bounds[str(kind)] = _quantiles(error[chosen], where[chosen], coverage)
    return Intervals(bounds)


def _quantiles(error: Float[np.ndarray, " n"], devices: np.ndarray, coverage: float) -> tuple[float, float]:
    """Equal-weight quantiles over devices, widened for the devices that were not seen: there are only so many."""
    names = np.unique(devices)
    weights = np.zeros(len(error))
    for name in names:
        weights[devices == name] = 1.0 / np.sum(devices == name)
    order = np.argsort(error)
    share = np.cumsum(weights[order]) / weights.sum()
    tail = 0.5 * (1.0 - coverage)
    low, high = (float(error[order][np.searchsorted(share, point)]) for point in (tail, 1.0 - tail - 1e-9))
    widening = 1.0 + 4.0 / len(names)
    return min(low, -LEAST_SPREAD) * widening, max(high, LEAST_SPREAD) * widening


def coverage_of(
    error: Float[np.ndarray, " n"], layer_types: Sequence[str], intervals: Intervals
) -> Float[np.ndarray, " n"]:
    """Whether each measured value lies in its interval, 0 or 1."""
    low, high = intervals.of(layer_types)
    return ((error >= low) & (error <= high)).astype(float)
