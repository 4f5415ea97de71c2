"""Where a net says ictal: its classifier's bias, set on validation so that zero is the best threshold.

Nets trained on balanced draws rank windows well and still split them badly. Moving the bias costs nothing in
hardware, which goes on comparing logits with each other, and puts the doubtful windows where the margin is small.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn


def best_offset(score: Float[np.ndarray, " N"], label: Int[np.ndarray, " N"]) -> float:
    """The threshold on `score` with the best balanced accuracy; the middle of the widest range of equally good ones.

    Args:
        score: l1 - l0 of the validation windows.
        label: 0 interictal, 1 ictal; both present.
    """
    values, counts = np.unique(score, return_counts=True)
    ictal = (label == 1)[np.argsort(score, kind="stable")]
    missed = np.concatenate([[0], np.cumsum(ictal)])
    rejected = np.concatenate([[0], np.cumsum(~ictal)])
    # Threshold k lies just below values[k]: all rows of smaller values are called interictal.
    cut = np.concatenate([[0], np.cumsum(counts)])
    gain = rejected[cut] / max(1, rejected[-1]) - missed[cut] / max(1, missed[-1])
    best = np.flatnonzero(gain == gain.max())
    padded = np.concatenate([[values[0] - 1.0], values, [values[-1] + 1.0]])
    # The best thresholds may form several ranges; the widest is the safest.
    widest = best[np.argmax(padded[best + 1] - padded[best])]
    return float((padded[widest] + padded[widest + 1]) / 2)


@torch.no_grad()
def centre_decision(classifier: nn.Linear, logits: Float[np.ndarray, "N 2"], label: Int[np.ndarray, " N"]) -> float:
    """Shift the biases of a two-class layer so that l1 = l0 at the best threshold of these logits; return the shift."""
    offset = best_offset((logits[:, 1] - logits[:, 0]).astype(np.float64), label)
    classifier.bias.add_(classifier.bias.new_tensor([offset / 2, -offset / 2]))
    return offset
