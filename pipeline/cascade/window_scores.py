"""Scores of window decisions that hold when ictal windows are one in a hundred: accuracy says nothing there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata


def auc(score: Float[np.ndarray, " N"], label: Int[np.ndarray, " N"]) -> float:
    """Area under the ROC curve, ties counting half; NaN with one class (Mann & Whitney 1947)."""
    positives = int((label == 1).sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)[label == 1].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(score: Float[np.ndarray, " N"], label: Int[np.ndarray, " N"]) -> float:
    """Area under the precision-recall curve as a step function; NaN without an ictal window."""
    if not (label == 1).any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order] == 1)
    # Rows of equal score are one threshold: only the last of each tie is a point of the curve.
    last = np.append(np.diff(score[order]) != 0, True)
    precision = (hits / np.arange(1, len(label) + 1))[last]
    recall = hits[last] / hits[-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def balanced_accuracy(predicted: Bool[np.ndarray, " N"], label: Int[np.ndarray, " N"]) -> float:
    """Mean of sensitivity and specificity; NaN with one class."""
    ictal = label == 1
    if ictal.all() or not ictal.any():
        return float("nan")
    return float((predicted[ictal].mean() + (~predicted[~ictal]).mean()) / 2)
