"""What both nets say about every window of a split, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..data.ieeg_windows import IeegWindows
from .cascade_models import SeizureCascade
from .risk_control import Verdicts

BATCH = 256
INDEX_COLUMNS = ["patient", "recording", "start_s", "split", "label"]

Forward = Callable[[Float[Tensor, "B C T"]], Float[Tensor, "B 2"]]


def signal_batches(windows: IeegWindows, device: torch.device) -> Iterator[Float[Tensor, "B C T"]]:
    """All windows in the order of the index, a batch in memory at a time."""
    for start in range(0, len(windows), BATCH):
        positions = np.arange(start, min(start + BATCH, len(windows)))
        yield torch.from_numpy(windows.read(positions)).to(device)


@torch.no_grad()
def logits_of(forward: Forward, windows: IeegWindows, device: torch.device) -> Float[np.ndarray, "N 2"]:
    """Logits of one net for all windows of a split."""
    return torch.cat([forward(signal).cpu() for signal in signal_batches(windows, device)]).numpy()


def probability(logits: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, " N"]:
    """p(ictal) of two logits, in float64."""
    return 1.0 / (1.0 + np.exp(-(logits[:, 1].astype(np.float64) - logits[:, 0])))


def baseline_predictions(windows: IeegWindows, logits: Float[np.ndarray, "N 2"]) -> pd.DataFrame:
    """One row per window: index columns, p_ictal, logit_0, logit_1."""
    table = windows.index[INDEX_COLUMNS].copy()
    table["p_ictal"] = probability(logits)
    table["logit_0"], table["logit_1"] = logits.T
    return table


@torch.no_grad()
def cascade_predictions(cascade: SeizureCascade, windows: IeegWindows, device: torch.device) -> pd.DataFrame:
    """One row per window: index columns and both nets' logits, the complex net's whether it was needed or not."""
    simple, complex_ = [], []
    for signal in signal_batches(windows, device):
        simple.append(cascade.simple_logits(signal).cpu())
        complex_.append(cascade.complex_logits(signal).cpu())
    table = windows.index[INDEX_COLUMNS].copy()
    table["simple_0"], table["simple_1"] = torch.cat(simple).numpy().T
    table["complex_0"], table["complex_1"] = torch.cat(complex_).numpy().T
    return table


def route(table: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Add `routed` and the cascade's `logit_0`, `logit_1`, `p_ictal` at a margin."""
    routed = ~((table["simple_1"] - table["simple_0"]).abs().to_numpy() > margin)
    chosen = np.where(
        routed[:, None], table[["complex_0", "complex_1"]].to_numpy(), table[["simple_0", "simple_1"]].to_numpy()
    )
    return table.assign(routed=routed, logit_0=chosen[:, 0], logit_1=chosen[:, 1], p_ictal=probability(chosen))


def verdicts_of(table: pd.DataFrame) -> Verdicts:
    """The verdicts of a table of cascade predictions; a block is a recording of a patient."""
    ictal: Bool[np.ndarray, " N"] = table["label"].to_numpy() == 1
    simple = (table["simple_1"] - table["simple_0"]).to_numpy()
    complex_ = (table["complex_1"] - table["complex_0"]).to_numpy()
    return Verdicts(
        margin=np.abs(simple),
        simple_right=(simple > 0) == ictal,
        complex_right=(complex_ > 0) == ictal,
        ictal=ictal,
        blocks=(table["patient"] + "/" + table["recording"]).to_numpy(str),
    )
