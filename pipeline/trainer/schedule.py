"""The learning-rate schedule: linear warm-up, then a cosine."""

from __future__ import annotations

import math


def learning_rate_factor(step: int, total_steps: int, warmup_steps: int, final_ratio: float) -> float:
    """Learning rate at `step` over its peak.

    Rises linearly over `warmup_steps` to 1, then falls along a half cosine to `final_ratio` at the last
    step (Loshchilov & Hutter, SGDR, 2017, without restarts).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - 1 - warmup_steps)
    return final_ratio + (1.0 - final_ratio) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
