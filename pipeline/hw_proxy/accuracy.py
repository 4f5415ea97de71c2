"""How good predictions are: median and mean absolute percentage error, and rank correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Accuracy:
    """Errors of one set of predictions; percentages of the measured value."""

    rows: int
    median_ape: float
    mape: float
    spearman: float
    bias: float


def accuracy(predicted: Float[np.ndarray, " n"], measured: Float[np.ndarray, " n"]) -> Accuracy:
    """Errors of `predicted` against `measured`; `bias` is the median signed error, %."""
    from scipy.stats import spearmanr

    error = 100.0 * (predicted / measured - 1.0)
    ranks = float(spearmanr(predicted, measured).statistic) if len(measured) > 2 else float("nan")
    size = np.abs(error)
    return Accuracy(len(measured), float(np.median(size)), float(np.mean(size)), ranks, float(np.median(error)))
