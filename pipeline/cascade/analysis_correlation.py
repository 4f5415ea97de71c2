"""Part 5.3 of the cascade plan: how much do the channels repeat each other, and do few of them carry the seizure?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float


def correlation_matrix(signals: Float[np.ndarray, "N C T"]) -> Float[np.ndarray, "C C"]:
    """Pearson correlation of channels over all samples of all windows, each window's mean removed.

    A channel without variance correlates with nothing; its diagonal is one.
    """
    channels = signals.shape[1]
    product = np.zeros((channels, channels))
    for window in signals:
        centred = window - window.mean(-1, keepdims=True)
        product += centred @ centred.T
    deviation = np.sqrt(np.diag(product))
    safe = np.where(deviation > 0, deviation, 1.0)
    correlation = np.clip(product / np.outer(safe, safe), -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def effective_rank(correlation: Float[np.ndarray, "C C"]) -> float:
    """Exponential of the entropy of the normalised eigenvalues (Roy & Vetterli 2007): 1 if all channels are one."""
    values = np.maximum(np.linalg.eigvalsh(correlation), 0.0)
    share = values / values.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def components_for(correlation: Float[np.ndarray, "C C"], share: float) -> int:
    """Principal components that hold `share` of the variance."""
    values = np.sort(np.maximum(np.linalg.eigvalsh(correlation), 0.0))[::-1]
    return int(np.searchsorted(np.cumsum(values) / values.sum(), share - 1e-12) + 1)


def correlation_table(correlation: Float[np.ndarray, "C C"], channels: list[int]) -> pd.DataFrame:
    """`channel_a`, `channel_b`, `correlation` for a < b."""
    upper = np.triu_indices(len(channels), 1)
    numbers = np.array(channels)
    return pd.DataFrame(
        {"channel_a": numbers[upper[0]], "channel_b": numbers[upper[1]], "correlation": correlation[upper]}
    )


def redundancy_summary(correlation: Float[np.ndarray, "C C"]) -> dict[str, float]:
    """Effective rank, components for 90 % of the variance, and mean and largest |correlation| of two channels."""
    off_diagonal = np.abs(correlation[np.triu_indices(len(correlation), 1)])
    return {
        "channels": float(len(correlation)),
        "effective_rank": effective_rank(correlation),
        "components_90": float(components_for(correlation, 0.9)),
        "mean_abs_correlation": float(off_diagonal.mean()) if len(off_diagonal) else float("nan"),
        "max_abs_correlation": float(off_diagonal.max()) if len(off_diagonal) else float("nan"),
    }
