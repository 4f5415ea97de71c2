"""Which windows an epoch sees, and in which order: a function of (seed, stage, epoch) alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def epoch_batches(
    labels: Int[np.ndarray, " N"],
    batch_size: int,
    interictal_per_ictal: float,
    key: tuple[int, int, int],
) -> list[Int[np.ndarray, " B"]]:
    """Shuffled batches of all ictal windows and a fresh draw of interictal ones.

    Seizures fill one window in a hundred of a long recording; without the draw most steps would see none of them.
    The last batch may be short; of a single window, which has no batch statistics, it is left out.

    Args:
        labels: 0 interictal, 1 ictal.
        batch_size: windows per batch.
        interictal_per_ictal: interictal windows drawn per ictal one, at most all of them.
        key: seed, stage and epoch.
    """
    generator = np.random.default_rng(key)
    ictal = np.flatnonzero(labels == 1)
    interictal = generator.permutation(np.flatnonzero(labels != 1))
    chosen = np.concatenate([ictal, interictal[: round(len(ictal) * interictal_per_ictal)]])
    chosen = generator.permutation(chosen)
    batches = [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]
    return [batch for batch in batches if len(batch) > 1]
