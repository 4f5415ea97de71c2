"""What the quantised nets and the integer networks say about every window, and whether they agree bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int

from ..cascade.predictions import INDEX_COLUMNS, probability, signal_batches
from ..data.ieeg_windows import IeegWindows
from .integer_model import IntegerModel
from .integer_numpy import quantise_windows, routed_by, run_integer_model
from .qat import QuantisedCascade


@dataclass(frozen=True)
class Answers:
    """Logits of both nets for some windows: of the quantised nets in float64, and of the integer networks."""

    qat_simple: Float[np.ndarray, "N 2"]
    qat_complex: Float[np.ndarray, "N 2"]
    integer_simple: Int[np.ndarray, "N 2"]
    integer_complex: Int[np.ndarray, "N 2"]


@torch.no_grad()
def quantised_logits(cascade: QuantisedCascade, signal: Float[np.ndarray, "N C T"]) -> tuple[np.ndarray, np.ndarray]:
    """Simple and complex logits of a float64 cascade, which are exact multiples of the logits' scales."""
    windows = torch.from_numpy(signal).double()
    return cascade.simple_logits(windows).numpy(), cascade.complex_logits(windows).numpy()


def answers_of(cascade: QuantisedCascade, model: IntegerModel, windows: IeegWindows) -> Answers:
    """Both executors on all windows of a split, a batch in memory at a time."""
    parts: list[tuple[np.ndarray, ...]] = []
    for batch in signal_batches(windows, torch.device("cpu")):
        signal = batch.numpy()
        integers = run_integer_model(model, quantise_windows(model.input, signal))
        parts.append((*quantised_logits(cascade, signal), integers.simple, integers.complex))
    return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def scaled_logits(model: IntegerModel, answers: Answers) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, "N 2"]]:
    """The integer networks' logits in the trained nets' units; exact."""
    simple, complex_ = (2.0**network.logits.exponent for network in model.networks)
    return answers.integer_simple * simple, answers.integer_complex * complex_


def mismatches(model: IntegerModel, answers: Answers, margin: float) -> int:
    """Windows of which a logit or the route bit differs between the two executors.

    Args:
        model: with the margin in integers.
        answers: of both executors.
        margin: in logits, as the float side compares it.
    """
    simple, complex_ = scaled_logits(model, answers)
    differs = (simple != answers.qat_simple).any(1) | (complex_ != answers.qat_complex).any(1)
    return int((differs | (float_route(answers.qat_simple, margin) != integer_route(model, answers))).sum())


def float_route(simple: Float[np.ndarray, "N 2"], margin: float) -> Bool[np.ndarray, " N"]:
    """Which windows the comparison of real logits hands over."""
    return ~(np.abs(simple[:, 1] - simple[:, 0]) > margin)


def integer_route(model: IntegerModel, answers: Answers) -> Bool[np.ndarray, " N"]:
    """Which windows the comparison of integers hands over."""
    return routed_by(answers.integer_simple, model.routing.margin)


def predictions(
    windows: IeegWindows,
    simple: Float[np.ndarray, "N 2"],
    complex_: Float[np.ndarray, "N 2"],
    routed: Bool[np.ndarray, " N"],
) -> pd.DataFrame:
    """One row per window as in EXP-C3-stages: index columns, both nets' logits, `routed`, the cascade's logits."""
    table = windows.index[INDEX_COLUMNS].copy()
    table["simple_0"], table["simple_1"] = simple.T
    table["complex_0"], table["complex_1"] = complex_.T
    chosen = np.where(routed[:, None], complex_, simple)
    return table.assign(routed=routed, logit_0=chosen[:, 0], logit_1=chosen[:, 1], p_ictal=probability(chosen))
