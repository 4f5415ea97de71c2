"""Training labels without a trace of the truth, for the control that must stay at chance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def scramble_labels(labels: Int[np.ndarray, " V"], rng: np.random.Generator) -> Int[np.ndarray, " V"]:
    """Labels permuted so that the videos of each class hold all classes in equal shares, up to one.

    A plain permutation leaves some class with more of one label than of another by luck, and a net learns that:
    the control would then miss chance by more than its test videos' standard error.
    """
    scrambled = np.empty_like(labels)
    classes = np.unique(labels)
    for position, label in enumerate(classes):
        rows = rng.permutation(np.flatnonzero(labels == label))
        scrambled[rows] = classes[(np.arange(len(rows)) + position) % len(classes)]
    return scrambled
