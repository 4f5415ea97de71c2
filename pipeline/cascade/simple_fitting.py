"""Training one simple model on one known electrode: for choosing among models, and for searching all electrodes."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from ..trainer.schedule import learning_rate_factor
from .cascade_models import SimpleSingleChannelModel, SimpleVariant
from .losses import class_weights, simple_loss
from .sampling import epoch_batches

PREDICTION_BATCH = 512
FINAL_LR_RATIO = 0.02
# The small nets on standardised features want larger steps than the convolutions: at the same rate ten epochs leave
# them half trained.
LR_FACTOR: dict[SimpleVariant, float] = {"A": 1.0, "A_lite": 1.0, "B": 10.0, "C": 10.0}


def fit_simple(
    signals: Float[np.ndarray, "N T"],
    labels: Int[np.ndarray, " N"],
    variant: SimpleVariant,
    *,
    epochs: int,
    lr: float,
    seed: int,
    batch_size: int = 64,
    interictal_per_ictal: float = 4.0,
    label_smoothing: float = 0.05,
    weight_decay: float = 1e-2,
    sample_rate_hz: float = 512.0,
    dropout: float = 0.1,
) -> SimpleSingleChannelModel:
    """Train a simple model on the windows of one electrode; a function of its arguments.

    Args:
        signals: standardised windows of the electrode.
        labels: 0 interictal, 1 ictal.
        variant: which simple model.
        epochs: passes over all ictal and as many draws of interictal windows.
        lr: peak learning rate of AdamW for A, times `LR_FACTOR` for the others, falling along a cosine.
        seed: of initialisation, order and dropout.
        batch_size, interictal_per_ictal, label_smoothing, weight_decay, sample_rate_hz, dropout: as in the
            configuration's `training` section.

    Returns:
        The model in evaluation mode.
    """
    torch.manual_seed(seed)
    model = SimpleSingleChannelModel(
        variant, window_samples=signals.shape[1], sample_rate_hz=sample_rate_hz, dropout=dropout
    ).train()
    lr = lr * LR_FACTOR[variant]
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    inputs, targets = torch.from_numpy(signals), torch.from_numpy(labels)
    keys = [(seed, 0, epoch) for epoch in range(epochs)]
    plan = [batch for key in keys for batch in epoch_batches(labels, batch_size, interictal_per_ictal, key)]
    weights = class_weights(targets[torch.from_numpy(np.concatenate(plan))])
    for step, batch in enumerate(plan):
        for group in optimizer.param_groups:
            group["lr"] = lr * learning_rate_factor(step, len(plan), len(plan) // 20, FINAL_LR_RATIO)
        chosen = torch.from_numpy(batch)
        loss = simple_loss(model(inputs[chosen]), targets[chosen], weights, label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def predict_simple(model: SimpleSingleChannelModel, signals: Float[np.ndarray, "N T"]) -> Float[np.ndarray, "N 2"]:
    """Logits of (interictal, ictal) for each window."""
    parts = torch.from_numpy(signals).split(PREDICTION_BATCH)
    return torch.cat([model(part) for part in parts]).numpy()
