"""How much balanced accuracy the cascade loses against the complex model alone, with a bound over recordings."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from .statistics import NonInferiority, non_inferiority

MARGIN = 0.02


def balanced_scores(right: Bool[np.ndarray, " N"], ictal: Bool[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Scores whose mean is the balanced accuracy: a right answer counts N / (2 N_class)."""
    counts = np.where(ictal, ictal.sum(), (~ictal).sum())
    return right * len(right) / (2.0 * counts)


def balanced_accuracy_loss(test: pd.DataFrame, margin: float = MARGIN) -> NonInferiority:
    """Loss of the cascade against the complex model that was trained alone, on the same windows.

    Recordings are resampled, because windows of one resemble each other; with several seeds, seeds too.

    Args:
        test: test predictions, columns patient recording seed label logit_0 logit_1 only_0 only_1.
        margin: tolerated loss, a share.
    """
    ictal = test["label"].to_numpy() == 1
    cascade, alone = (
        balanced_scores(((test[f"{name}_1"] > test[f"{name}_0"]).to_numpy() == ictal), ictal)
        for name in ("logit", "only")
    )
    recordings = (test["patient"] + "/" + test["recording"]).to_numpy(str)
    return non_inferiority(cascade, alone, recordings, test["seed"].to_numpy(), margin=margin)
