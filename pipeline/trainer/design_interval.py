"""How uncertain the latency of a finished design is, by the fitted proxy's intervals on its kernels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..codesign.pipeline_plan import split_like
from ..hw_proxy.device_table import devices_from_chips
from ..hw_proxy.latency_model import LatencyModel
from ..hw_proxy.layer_hw_proxy import LayerHwProxy
from ..hw_proxy.layer_table import KERNEL_KINDS, LayerOfTable, LayerTable
from ..hw_proxy.proxy_files import load_intervals, load_proxy, read_description
from ..mapping.segments import Segment
from .alternation import Candidate

if TYPE_CHECKING:
    from .codesign_steps import CodesignSteps


@torch.no_grad()
def latency_interval(folder: Path, steps: CodesignSteps, segments: list[Segment], held: Candidate) -> dict[str, Any]:
    """Latency of the design in its objective as the fitted proxy predicts it, and the bounds of its interval, ms.

    Every kernel is at the lower or upper end of its own interval at once, since kernels on one chip are wrong
    together: the bounds hold at least the proxy's share. Sends are not uncertain here.

    Returns:
        `low_ms`, `mid_ms`, `high_ms`, `coverage` (the share that kernel intervals were fitted to), `regime` by chip
        (known | unseen: whether the proxy had rows of it); without intervals only `mid_ms`.
    """
    model, intervals = load_proxy(folder), load_intervals(folder)
    live = split_like(segments, held.mapping["rewire_meta"])
    by_name = {chip.name: chip for chip in steps.slots.chip_types}
    known = _known(model)
    busy = np.zeros((3, len(held.chips)))
    regimes: dict[str, str] = {}
    for segment, slot in zip(live, held.mapping["mapping"], strict=True):
        chip = by_name[str(held.chips[slot])]
        regimes[chip.name] = "known" if {chip.name, chip.device} & known else "unseen"
        kernels_ms, kinds = _kernels_ms(model, segment.kernels, chip.specs())
        low, high = (np.zeros(len(kinds)), np.zeros(len(kinds)))
        if regimes[chip.name] in intervals:
            low, high = intervals[regimes[chip.name]].of(kinds)
        busy[:, slot] += [float((kernels_ms * np.exp(offset)).sum()) for offset in (low, np.zeros_like(low), high)]
    busy += _sends_ms(steps, held)
    serial = steps.cfg.mapping.objective == "serial"
    bounds = (busy.sum(axis=1) if serial else busy.max(axis=1)).tolist()
    told = {"mid_ms": bounds[1], "regime": regimes}
    if set(regimes.values()) <= set(intervals):
        coverage = read_description(folder)["notes"]["config"]["evaluation"]["coverage"]
        told |= {"low_ms": bounds[0], "high_ms": bounds[2], "coverage": coverage}
    return told


def _known(model: LayerHwProxy) -> set[str]:
    first = model.members[0]
    return set(first.known_devices) if isinstance(first, LatencyModel) else set()


def _kernels_ms(model: LayerHwProxy, kernels: LayerTable | LayerOfTable, specs: Any) -> tuple[np.ndarray, list[str]]:
    """Time of all launches of each kernel, and its kind."""
    table = kernels.table() if isinstance(kernels, LayerOfTable) else kernels
    device = devices_from_chips([dict(specs)]).select(torch.zeros(len(table), dtype=torch.long))
    once_ms = model.kernel_ms(table, device)
    return (once_ms * table.count).double().numpy(), [KERNEL_KINDS[kind] for kind in table.kind.tolist()]


def _sends_ms(steps: CodesignSteps, held: Candidate) -> np.ndarray:
    """Time each slot spends on sends."""
    _, stats = steps.loss(steps.segments(), held, smoothing=0.0)
    return np.array([row["send_ms"] for row in stats["per_slot"]])
