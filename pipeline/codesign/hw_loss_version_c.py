"""L_hw of several chips (spec §12): what a network, chips, a mapping and places cost, in one differentiable number.

Solving and pricing are two things: the solver gives integers, this gives tensors. docs/version_c.md has every formula
and an example worked by hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor

from ..config.codesign import HwLossConfig
from ..errors import ConfigError, DataError
from ..mapping.chip_slots import ChipSlotConfig
from ..mapping.costs import MappingConfig, link_hops, mapping_config
from ..mapping.fine_split import connect
from ..mapping.segments import Segment
from .hardware_costs import HardwareCosts, hardware_costs, plain_numbers
from .mapping_step import is_open, placed_types, solve_for_slots
from .pipeline_plan import plan_of, split_like


def compute_hw_loss(
    segments: Sequence[Segment],
    chip_slot_config: ChipSlotConfig,
    hw_proxy: Any,
    mapping_solver: Any,
    wafer_layout: Any,
    hw_loss_cfg: Any,
    *,
    mapping_result: Mapping[str, Any] | None = None,
    reference: Mapping[str, float] | None = None,
    chips: Mapping[str, Any] | None = None,
    smoothing: float | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Any]]:
    """The hardware loss and its statistics (spec §12, with the terms of docs/version_c.md).

    Args:
        segments: unsplit, in chain order; their costs may be live tensors of the gates.
        chip_slot_config: what the slots hold.
        hw_proxy: has `predict_segments` or `predict_segment`.
        mapping_solver: has `solve_mapping`; asked only where `mapping_result` is None.
        wafer_layout: its `pos` [S, 2] mm gives the hops; called for L_layout with `optimize_layout`. None: slots on a
            square grid, one hop apart.
        hw_loss_cfg: a `HwLossConfig`, or anything with its attributes.
        mapping_result: of an earlier solve; used as it is. Its split segments are split again from the live ones.
        reference: `latency_ms energy_j peak_mem_mb layout` at step 0, which terms are divided by; without it each by
            its own present value. `stats["reference"]` holds what was used.
        chips: an output of `chip_slot_config` to be priced; by default it is called. Detach it to hold chips still.
        smoothing: temperature of the smooth maximum, instead of `period_smoothing`; 0 is the true maximum over
            slots, and whole hops between them even where positions move.

    Returns:
        L_hw, and its statistics as plain numbers: terms, totals with units, a row per slot, the mapping result.

    Raises:
        ConfigError: a weight is missing or negative, an unknown mode or mapping key.
        DataError: no mapping fits; the reason names the segment or the memory.
    """
    cfg = checked_weights(hw_loss_cfg)
    config = mapping_config(cfg.mapping_cfg)
    slots = chip_slot_config(hard=False) if chips is None else chips
    positions_mm = None if wafer_layout is None else wafer_layout.pos
    if mapping_result is None:
        mapping_result = solve_for_slots(
            segments, slots, chip_slot_config.chip_types, hw_proxy, mapping_solver, positions_mm, cfg
        )
    if mapping_result["mapping"] is None:
        raise DataError(f"no mapping of the segments to the chips fits: {mapping_result['reason']}")
    live = split_like(segments, mapping_result["rewire_meta"])
    live = connect(live) if mapping_result["rewire_meta"] else live
    exact_hops = link_hops(chip_slot_config.num_slots, positions_mm, config)
    plan = plan_of(live, mapping_result["mapping"], chip_slot_config.num_slots, exact_hops)
    smooth = cfg.period_smoothing if smoothing is None else smoothing
    moving = cfg.optimize_layout and positions_mm is not None and smooth > 0.0
    hops = live_hops(exact_hops, positions_mm, config) if moving else torch.from_numpy(exact_hops)
    costs = hardware_costs(live, plan, slots, chip_slot_config.chip_types, hw_proxy, hops, cfg.cost_mode, config)
    layout, layout_stats = _layout(wafer_layout, mapping_result["mapping"], live, slots, chip_slot_config, cfg)
    totals = costs.totals(smooth) | ({} if layout is None else {"layout": layout})
    base = dict(reference) if reference is not None else _present(costs, layout)
    terms = loss_terms(totals, costs, slots["alpha"], base, cfg)
    loss = torch.stack(list(terms.values())).sum()
    stats = {
        **dict(zip(("L_hw", *terms), plain_numbers([loss, *terms.values()]), strict=True)),
        **costs.statistics(slots["alpha"], cfg),
        "reference": base,
        "layout": layout_stats,
        "mapping": list(mapping_result["mapping"]),
        "mapping_result": mapping_result,
        "segments": [segment.id for segment in live],
    }
    return loss, stats


def loss_terms(
    totals: Mapping[str, Tensor],
    costs: HardwareCosts,
    alpha: Float[Tensor, "S T1"],
    base: Mapping[str, float],
    cfg: HwLossConfig,
) -> dict[str, Float[Tensor, ""]]:
    """Every term of the loss, weighted; all are free of units."""

    def relative(weight: float, name: str) -> Tensor:
        if weight == 0.0:
            return totals[name].new_zeros(())
        share = totals[name] / base[name]
        return weight * (share.log() if cfg.combine == "log" else share)

    used_share = alpha.new_ones(len(alpha)) - alpha[:, -1]
    terms = {
        "term_latency": relative(cfg.lambda_T, "latency_ms"),
        "term_energy": relative(cfg.lambda_E, "energy_j"),
        "term_memory": relative(cfg.lambda_mem, "peak_mem_mb"),
        "term_chips": cfg.lambda_chip * used_share.sum(),
        "term_area": cfg.lambda_area * (costs.area_mm2 / cfg.area_budget_mm2 - 1.0).clamp(min=0.0),
        "term_tdp": cfg.lambda_tdp * (costs.tdp_w / cfg.tdp_budget_w - 1.0).clamp(min=0.0),
        "term_capacity": cfg.lambda_cap * costs.capacity_excess.sum(),
        "term_empty": cfg.lambda_empty * (costs.work_share * alpha[:, -1].to(costs.work_share)).sum(),
    }
    if "layout" in totals:
        terms["term_layout"] = cfg.lambda_layout * totals["layout"] / max(base.get("layout", 1.0), 1e-12)
    like = costs.idle_w
    return {name: value.to(like) for name, value in terms.items()}


def checked_weights(cfg: Any) -> HwLossConfig:
    """The configuration, from a `HwLossConfig` or anything with its attributes, checked.

    Raises:
        ConfigError: a weight is missing or negative, or a mode unknown; names it.
    """
    if isinstance(cfg, HwLossConfig):
        return cfg
    given = {name: getattr(cfg, name) for name in HwLossConfig.model_fields if hasattr(cfg, name)}
    try:
        return HwLossConfig(**given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise ConfigError(f"the hardware loss lacks {key}; give it, 0 leaves a term out") from None
        raise ConfigError(f"hardware loss: {key}={first['input']!r}: {first['msg']}") from None


def soft_hard_gap(soft_loss: float, hard_loss: float, combine: str) -> float:
    """How far the relaxed loss is from the hardened design's, relative.

    A difference of logarithms is a relative difference already: |exp(soft - hard) - 1|.
    """
    if combine == "log":
        return abs(math.expm1(soft_loss - hard_loss))
    return abs(soft_loss / hard_loss - 1.0)


def live_hops(exact: Any, positions_mm: Any, config: MappingConfig) -> Float[Tensor, "S S"]:
    """Hops that follow the positions smoothly: Manhattan distance over the reach of a link, at least one.

    They never exceed the whole hops the solver counts, and equal them at multiples of the reach.
    """
    apart_mm = (positions_mm[:, None] - positions_mm[None]).abs().sum(-1)
    between = 1.0 - torch.eye(len(positions_mm), dtype=apart_mm.dtype, device=apart_mm.device)
    if config.hops is not None:
        return torch.as_tensor(exact).to(apart_mm)
    return (apart_mm / config.link_reach_mm).clamp(min=1.0) * between


def _present(costs: HardwareCosts, layout: Tensor | None) -> dict[str, float]:
    totals = costs.totals(0.0)
    base = {name: value.item() for name, value in totals.items()}
    return base if layout is None else {**base, "layout": layout.item()}


def _layout(
    wafer_layout: Any,
    mapping: Sequence[int],
    segments: Sequence[Segment],
    slots: Mapping[str, Any],
    chip_slot_config: ChipSlotConfig,
    cfg: HwLossConfig,
) -> tuple[Tensor | None, dict[str, Any]]:
    """The layout loss of the likeliest chips, or None where positions are not optimised."""
    if not cfg.optimize_layout:
        return None, {}
    if wafer_layout is None:
        raise ConfigError("optimize_layout=true needs a wafer layout; give one, or switch it off")
    chips = placed_types(slots, mapping)
    specs = {
        key: torch.tensor([0.0 if t is None else getattr(chip_slot_config.chip_types[t], key) for t in chips])
        for key in ("width_mm", "height_mm", "tdp_w")
    }
    number = {segment.id: position for position, segment in enumerate(segments)}
    edges = [(position, number[to], amount) for position, one in enumerate(segments) for to, amount in one.edges]
    loss, stats = wafer_layout(mapping, segments, specs, edges=edges)
    return loss, {**stats, "open_slots": [j for j in range(len(chips)) if is_open(slots, j)]}
