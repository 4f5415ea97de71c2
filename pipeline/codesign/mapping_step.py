"""The mapping of segments to slots whose chips are probabilities: the solver sees expected costs and likely chips."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..config.chips import ChipType
from ..config.codesign import HwLossConfig
from ..mapping.segments import Segment
from .prices import MixtureProxy

OPEN_BELOW = 0.5  # of the probability of being empty


def is_open(slots: Mapping[str, Any], slot: int) -> bool:
    """Whether a slot is likelier to hold a chip than not."""
    return bool(slots["alpha"][slot, -1] <= OPEN_BELOW)


def placed_types(slots: Mapping[str, Any], mapping: Sequence[int] = ()) -> list[int | None]:
    """The likeliest chip type of every open slot, and of slots that carry a segment all the same; else None."""
    likeliest = slots["type_share"].detach().argmax(dim=1).tolist()
    used = {int(slot) for slot in mapping}
    return [t if j in used or is_open(slots, j) else None for j, t in enumerate(likeliest)]


@torch.no_grad()
def solve_for_slots(
    segments: Sequence[Segment],
    slots: Mapping[str, Any],
    chip_types: Sequence[ChipType],
    proxy: Any,
    mapping_solver: Any,
    positions_mm: Tensor | None,
    cfg: HwLossConfig,
    *,
    warm_start: Sequence[int] | None = None,
) -> dict[str, Any]:
    """One solve (spec §10.3): latencies are expected over chip types, memory is the likeliest chip's.

    Slots that are likelier empty are closed. If all are, the one that is least so is opened.

    Args:
        slots: an output of `ChipSlotConfig`.
        warm_start: a mapping of the unsplit segments to improve on.

    Returns:
        what `MappingSolver.solve_mapping` returns.
    """
    alpha, share = slots["alpha"].detach(), slots["type_share"].detach()
    open_slots = (alpha[:, -1] <= OPEN_BELOW).tolist()
    if not any(open_slots):
        open_slots[int(alpha[:, -1].argmin())] = True
    if cfg.cost_mode == "spec_mix":
        real = 1.0 - alpha[:, -1].clamp(max=1.0 - 1e-6)
        specs = {name: value.detach() / real for name, value in slots["eff_specs"].items()}
        priced_by = proxy
    else:
        likeliest = [chip_types[t] for t in share.argmax(dim=1).tolist()]
        specs = {"mem_gb": torch.tensor([chip.mem_gb for chip in likeliest])}
        priced_by = MixtureProxy(proxy, chip_types, share)
    return dict(
        mapping_solver.solve_mapping(
            [dataclasses.replace(segment) for segment in segments],  # the solver marks what it may split
            specs,
            priced_by,
            layout_positions=None if positions_mm is None else positions_mm.detach(),
            strategy=cfg.mapping_strategy,
            cfg={
                **cfg.mapping_cfg,
                "open_slots": open_slots,
                **({} if warm_start is None else {"warm_start": list(warm_start)}),
            },
        )
    )
