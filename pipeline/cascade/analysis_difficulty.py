"""Part 5.2 of the cascade plan: how many windows are easy, judged by the confidence of the existing CNN?

Confidence is |p1 - p0| of the baseline (EXP-C0-baseline) on validation windows. If few windows are easy, a model in
front of it has nothing to answer and a cascade is not worth its hardware.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

BINS = 20


def confidence(p_ictal: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """|p1 - p0| of two classes, 0 to 1."""
    return np.abs(2.0 * p_ictal - 1.0)


def confidence_histogram(predictions: pd.DataFrame) -> pd.DataFrame:
    """Windows by confidence, class and whether the answer is right.

    Args:
        predictions: columns p_ictal and label.

    Returns:
        `low`, `high` (edges of the bin), `label`, `right`, `windows`; every combination, zeros included.
    """
    right = (predictions["p_ictal"] > 0.5) == (predictions["label"] == 1)
    value = confidence(predictions["p_ictal"].to_numpy(float))
    edges = np.linspace(0.0, 1.0, BINS + 1)
    rows = []
    for label in (0, 1):
        for is_right in (False, True):
            chosen = (predictions["label"] == label).to_numpy() & (right == is_right).to_numpy()
            counts, _ = np.histogram(value[chosen], edges)
            rows += [
                (low, high, label, is_right, int(count))
                for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
            ]
    return pd.DataFrame(rows, columns=["low", "high", "label", "right", "windows"])


def difficulty_summary(predictions: pd.DataFrame, easy: float) -> dict[str, float]:
    """Share of easy windows, and how often easy and hard ones are answered right.

    Args:
        predictions: columns p_ictal and label.
        easy: confidence above which a window is easy.
    """
    right = ((predictions["p_ictal"] > 0.5) == (predictions["label"] == 1)).to_numpy()
    is_easy = confidence(predictions["p_ictal"].to_numpy(float)) > easy
    ictal = (predictions["label"] == 1).to_numpy()
    return {
        "windows": float(len(predictions)),
        "easy_share": _mean(is_easy),
        "easy_share_ictal": _mean(is_easy[ictal]),
        "accuracy_easy": _mean(right[is_easy]),
        "accuracy_hard": _mean(right[~is_easy]),
    }


def risk_coverage(margin: Float[np.ndarray, " N"], right: Bool[np.ndarray, " N"]) -> pd.DataFrame:
    """Share of wrong answers among the accepted windows as the accepted share grows, most confident first.

    Windows of equal margin are accepted together.

    Returns:
        `margin` (accepted from here up), `coverage`, `risk`.
    """
    order = np.argsort(-margin, kind="stable")
    last = np.append(np.diff(margin[order]) != 0, True)
    accepted = np.arange(1, len(margin) + 1)
    risk = np.cumsum(~right[order]) / accepted
    table = {"margin": margin[order][last], "coverage": (accepted / len(margin))[last], "risk": risk[last]}
    return pd.DataFrame(table)


def coverage_at_risk(margin: Float[np.ndarray, " N"], right: Bool[np.ndarray, " N"], risk: float) -> float:
    """The largest share that can be accepted with at most this share of wrong answers among it; 0 if none can."""
    curve = risk_coverage(margin, right)
    allowed = curve.loc[curve["risk"] <= risk, "coverage"]
    return float(allowed.max()) if len(allowed) else 0.0


def _mean(values: Bool[np.ndarray, " N"]) -> float:
    return float(values.mean()) if len(values) else float("nan")
