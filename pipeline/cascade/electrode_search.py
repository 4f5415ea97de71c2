"""The learned electrode against the truth: a simple model of its own trained on every electrode in turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from ..config.cascade import CascadeConfig
from ..data.ieeg_windows import IeegWindows
from .cascade_models import SimpleSingleChannelModel, SimpleVariant
from .sampling import epoch_batches
from .simple_fitting import fit_simple, predict_simple
from .window_scores import auc

COLUMNS = ["patient", "channel", "auc_val", "auc_test", "learned"]
READ_BATCH = 256


def search_electrodes(
    cfg: CascadeConfig,
    variant: SimpleVariant,
    learned: int,
    splits: Mapping[str, IeegWindows],
    channels: Iterable[int] | None = None,
) -> pd.DataFrame:
    """Validation and test AUC of every usable electrode, `learned` being the one that the cascade chose.

    The training windows are one epoch's draw (every ictal window, a share of the others), so that memory stays
    bounded however long the recordings are.
    """
    torch.set_num_threads(cfg.training.threads)
    train = splits["train"]
    usable = np.flatnonzero(train.channel_mask) if channels is None else list(channels)
    drawn = epoch_batches(train.labels, len(train), cfg.training.interictal_per_ictal, (cfg.seed, 0, 0))
    positions = np.sort(np.concatenate(drawn))
    signals, labels = train.read(positions), train.labels[positions]
    rows = []
    for channel in usable:
        model = fit_simple(
            np.ascontiguousarray(signals[:, channel]),
            labels,
            variant,
            epochs=cfg.evaluation.search_epochs,
            lr=cfg.training.lr,
            seed=cfg.seed,
            batch_size=cfg.training.batch_size,
            interictal_per_ictal=cfg.training.interictal_per_ictal,
            label_smoothing=cfg.training.label_smoothing,
            weight_decay=cfg.training.weight_decay,
            sample_rate_hz=cfg.data.sample_rate_hz,
            dropout=cfg.model.dropout,
        )
        scores = [_auc_of(model, splits[name], int(channel)) for name in ("val", "test")]
        rows.append((train.patient, int(channel), *scores, int(channel) == learned))
    return pd.DataFrame(rows, columns=COLUMNS)


def _auc_of(model: SimpleSingleChannelModel, windows: IeegWindows, channel: int) -> float:
    logits: list[Float[np.ndarray, "B 2"]] = []
    for start in range(0, len(windows), READ_BATCH):
        positions: Int[np.ndarray, " B"] = np.arange(start, min(start + READ_BATCH, len(windows)))
        logits.append(predict_simple(model, np.ascontiguousarray(windows.read(positions)[:, channel])))
    joined = np.concatenate(logits)
    return auc(joined[:, 1] - joined[:, 0], windows.labels)
