"""Training every candidate simple model on each patient's most separable electrode, for the decision to compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from ..config.cascade import CascadeConfig
from ..data.ieeg_windows import IeegWindows
from .cascade_models import SimpleSingleChannelModel, SimpleVariant
from .macs import parameter_count, simple_macs
from .simple_fitting import fit_simple, predict_simple

SEEDS_PER_RUN = 1000


@dataclass(frozen=True)
class ElectrodeData:
    """Training and validation windows of one electrode of one patient."""

    patient: str
    electrode: int
    train: Float[np.ndarray, "N T"]
    train_labels: Int[np.ndarray, " N"]
    val: Float[np.ndarray, "M T"]
    val_labels: Int[np.ndarray, " M"]


def electrode_data(cfg: CascadeConfig, patient: str, electrode: int) -> ElectrodeData:
    """Read one electrode of a patient; other electrodes never stay in memory."""
    train, val = (_electrode(IeegWindows(cfg.data.root, patient, split), electrode) for split in ("train", "val"))
    return ElectrodeData(patient, electrode, *train, *val)


def validation_answers(cfg: CascadeConfig, data: list[ElectrodeData], tell: Callable[[int, int], None]) -> pd.DataFrame:
    """Train all candidates with all seeds on all patients and collect their answers on validation windows.

    Args:
        cfg: the resolved configuration.
        data: one electrode per patient.
        tell: called with models done and models in all.

    Returns:
        `candidate`, `seed`, `patient`, `label`, `margin` (logit of ictal minus that of interictal).
    """
    jobs = [(variant, seed, own) for variant in cfg.decision.candidates for seed in cfg.decision.seeds for own in data]
    parts = []
    for done, (variant, seed, own) in enumerate(jobs, start=1):
        logits = predict_simple(_fitted(cfg, own, variant, seed), own.val)
        columns = {"candidate": variant, "seed": seed, "patient": own.patient, "label": own.val_labels}
        parts.append(pd.DataFrame({**columns, "margin": (logits[:, 1] - logits[:, 0]).astype(np.float64)}))
        tell(done, len(jobs))
    return pd.concat(parts, ignore_index=True)


def candidate_costs(cfg: CascadeConfig) -> pd.DataFrame:
    """`candidate`, `macs` for one window, `parameters`: counted on the built models."""
    rows = []
    for variant in cfg.decision.candidates:
        model = SimpleSingleChannelModel(
            variant, window_samples=cfg.data.window_samples, sample_rate_hz=cfg.data.sample_rate_hz
        )
        rows.append((variant, simple_macs(model), parameter_count(model)))
    return pd.DataFrame(rows, columns=["candidate", "macs", "parameters"])


def _fitted(cfg: CascadeConfig, own: ElectrodeData, variant: SimpleVariant, seed: int) -> SimpleSingleChannelModel:
    return fit_simple(
        own.train,
        own.train_labels,
        variant,
        epochs=cfg.decision.num_epochs,
        lr=cfg.decision.lr,
        seed=cfg.seed * SEEDS_PER_RUN + seed,
        batch_size=cfg.decision.batch_size,
        interictal_per_ictal=cfg.training.interictal_per_ictal,
        label_smoothing=cfg.training.label_smoothing,
        weight_decay=cfg.training.weight_decay,
        sample_rate_hz=cfg.data.sample_rate_hz,
        dropout=cfg.model.dropout,
    )


def _electrode(windows: IeegWindows, electrode: int) -> tuple[Float[np.ndarray, "N T"], Int[np.ndarray, " N"]]:
    batches = np.array_split(np.arange(len(windows)), max(1, len(windows) // 512))
    return np.concatenate([windows.read(rows)[:, electrode] for rows in batches]), windows.labels
