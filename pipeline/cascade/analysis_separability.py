"""Part 5.1 of the cascade plan: on which channels do ictal and interictal windows differ, and in what?

Nine features of a window, each a line of code in hardware. Per channel, the AUC of each feature and of Fisher's
linear discriminant of all nine, fitted on training windows and scored on validation windows. Features can fall at
seizure onset as well as rise, so channels rank by the distance of AUC from one half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from .window_scores import auc

SMALLEST = 1e-9
SHRINKAGE = 1e-3


def window_features(
    signals: Float[np.ndarray, "N C T"], rate_hz: float, bands_hz: Sequence[tuple[float, float]]
) -> tuple[list[str], Float[np.ndarray, "N C F"]]:
    """Log features of every window and channel.

    Args:
        signals: standardised windows.
        rate_hz: samples per second.
        bands_hz: lower and upper edges.

    Returns:
        The names, and line length, variance, peak, zero crossings (not logarithmic) and the power of each band.
    """
    zero_crossings = (np.diff(np.signbit(signals), axis=-1) != 0).mean(-1)
    features = {
        "line_length": _log(np.abs(np.diff(signals, axis=-1)).mean(-1)),
        "variance": _log(signals.var(-1)),
        "peak": _log(np.abs(signals).max(-1)),
        "zero_crossings": zero_crossings.astype(np.float32),
    }
    frequency_hz, power = power_spectrum(signals, rate_hz)
    for low, high in bands_hz:
        inside = (frequency_hz >= low) & (frequency_hz < high)
        features[band_name(low, high)] = _log(power[..., inside].sum(-1))
    return list(features), np.stack(list(features.values()), axis=-1)


def band_name(low_hz: float, high_hz: float) -> str:
    """A column name for a band, e.g. `band_8_13`."""
    return f"band_{low_hz:g}_{high_hz:g}"


def power_spectrum(
    signals: Float[np.ndarray, "*N T"], rate_hz: float
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "*N K"]]:
    """Frequencies and power density (unit² / Hz) of Hann-windowed signals, one side."""
    taper = np.hanning(signals.shape[-1]).astype(np.float32)
    spectrum = np.fft.rfft(signals * taper, axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2) * (2.0 / (rate_hz * float((taper**2).sum())))
    return np.fft.rfftfreq(signals.shape[-1], 1.0 / rate_hz), power.astype(np.float32)


def separability(
    names: Sequence[str],
    train: tuple[Float[np.ndarray, "N C F"], Int[np.ndarray, " N"]],
    val: tuple[Float[np.ndarray, "M C F"], Int[np.ndarray, " M"]],
    channels: Sequence[int],
) -> pd.DataFrame:
    """One row per channel, most separable first.

    Args:
        names: of the features.
        train: features and labels that the discriminant is fitted on.
        val: features and labels that everything is scored on.
        channels: usable channels.

    Returns:
        `channel`, `auc` (discriminant, on validation), `auc_train`, `auc_<feature>` (validation; below 0.5 means the
        feature falls), `best_feature`, `effect_size` (Cohen's d of that feature), `rank` from 1.
    """
    rows = []
    for channel in channels:
        weights = fisher_discriminant(train[0][:, channel], train[1])
        scores = {name: auc(val[0][:, channel, index], val[1]) for index, name in enumerate(names)}
        best = max(scores, key=lambda name: abs(scores[name] - 0.5))
        values = val[0][:, channel, list(names).index(best)]
        rows.append(
            {
                "channel": channel,
                "auc": auc(val[0][:, channel] @ weights, val[1]),
                "auc_train": auc(train[0][:, channel] @ weights, train[1]),
                **{f"auc_{name}": score for name, score in scores.items()},
                "best_feature": best,
                "effect_size": cohens_d(values[val[1] == 1], values[val[1] == 0]),
            }
        )
    table = pd.DataFrame(rows)
    # Validation alone saturates on short sets; the training windows, which are more, decide between equals.
    order = np.lexsort((table["channel"], -table["auc_train"], -table["auc"].round(3)))
    table = table.iloc[order].reset_index(drop=True)
    return table.assign(rank=np.arange(1, len(table) + 1))


def fisher_discriminant(features: Float[np.ndarray, "N F"], labels: Int[np.ndarray, " N"]) -> Float[np.ndarray, " F"]:
    """The direction that separates the class means best relative to the spread within (Fisher 1936), regularised."""
    ictal, rest = features[labels == 1].astype(np.float64), features[labels == 0].astype(np.float64)
    within = _scatter(ictal) + _scatter(rest)
    within += np.eye(len(within)) * (SHRINKAGE * np.trace(within) / len(within) + SMALLEST)
    return np.linalg.solve(within, ictal.mean(0) - rest.mean(0))


def cohens_d(first: Float[np.ndarray, " N"], second: Float[np.ndarray, " M"]) -> float:
    """Difference of means over the pooled standard deviation."""
    pooled = np.sqrt((first.var() + second.var()) / 2)
    return float((first.mean() - second.mean()) / max(float(pooled), SMALLEST))


def _scatter(values: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "F F"]:
    centred = values - values.mean(0)
    return centred.T @ centred / len(values)


def _log(values: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    return np.log(np.maximum(values, SMALLEST)).astype(np.float32)
