"""From chips by name, a mapping and places to a finished `Design`, priced exactly and in double precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..config.chips import ChipType
from ..config.codesign import HwLossConfig
from ..errors import ConfigError, DataError
from ..hw_proxy import modelled_table, roofline_proxy
from ..hw_proxy.layer_table import KERNEL_KINDS, LayerOfTable, LayerTable
from ..layout.design import instance_of_design
from ..layout.instance import LayoutInstance, Region
from ..layout.objective import LayoutScore, score
from ..mapping.chip_slots import ChipSlotConfig
from ..mapping.costs import MappingConfig, cost_matrix, link_hops, mapping_config
from ..mapping.segments import Segment
from .design import (
    Design,
    DesignBudgets,
    DesignCosts,
    DesignHeat,
    DesignKernel,
    DesignLink,
    DesignPricing,
    DesignRegion,
    DesignSegment,
)
from .hardware_costs import HardwareCosts, hardware_costs
from .pipeline_plan import PipelinePlan, plan_of, split_like


@torch.no_grad()
def make_design(
    segments: Sequence[Segment],
    chips: Sequence[str | None],
    chip_types: Sequence[ChipType],
    mapping_result: Mapping[str, Any],
    proxy: Any,
    positions_mm: Float[Tensor, "S 2"] | Float[np.ndarray, "S 2"],
    cfg: HwLossConfig,
    *,
    region: Region,
    gap_mm: float,
    t_amb_c: float = 40.0,
    t_max_c: float = 85.0,
    keep: Mapping[str, Sequence[float]] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Design:
    """A design with its costs.

    Args:
        segments: unsplit, in chain order.
        chips: what each slot holds, by name.
        mapping_result: `mapping` and `rewire_meta` of a solve on these slots.
        positions_mm: centres of all slots; those of empty ones are dropped.
        region, gap_mm: where chips may lie, and how close.

    Raises:
        ConfigError: an unknown chip.
        DataError: a segment on an empty slot, no mapping, or no chip.
    """
    config = mapping_config(cfg.mapping_cfg)
    slots = hard_slots(chip_types, chips)
    if mapping_result["mapping"] is None:
        raise DataError(f"no mapping of the segments to the chips fits: {mapping_result['reason']}")
    live = split_like([in_double(segment) for segment in segments], mapping_result["rewire_meta"])
    for segment, slot in zip(live, mapping_result["mapping"], strict=True):
        if chips[slot] is None:
            raise DataError(f"segment {segment.id} is mapped to slot {slot}, which is empty")
    places = np.asarray(torch.as_tensor(positions_mm).detach().double().cpu())
    plan = plan_of(live, mapping_result["mapping"], len(chips), link_hops(len(chips), places, _by_place(config)))
    hops = torch.from_numpy(link_hops(len(chips), places, _by_place(config)))
    costs = hardware_costs(live, plan, slots, chip_types, proxy, hops, "expected", config)
    layout = _placed(chips, chip_types, places, plan, live, region, gap_mm, t_amb_c, t_max_c)
    full = [j for j, name in enumerate(chips) if name is not None]
    return Design(
        chips=list(chips),
        positions_mm=[(float(x), float(y)) if j in full else None for j, (x, y) in enumerate(places)],
        objective="serial" if config.objective == "serial" else "balanced",
        segments=_segments(live, mapping_result["mapping"], chips, chip_types, proxy),
        link=DesignLink(config.hop_ms, config.link_gb_s, config.pj_per_bit, config.link_reach_mm),
        region=DesignRegion(region.kind, region.half_x_mm, region.half_y_mm, gap_mm),
        heat=DesignHeat(layout.t_amb_c, layout.t_max_c, layout.ell_mm, layout.r_self, layout.r_mut),
        budgets=DesignBudgets(cfg.area_budget_mm2, cfg.tdp_budget_w, config.usable_memory_share),
        pricing=pricing_of(proxy),
        costs=_costs(costs, score(layout, places[full]), len(full)),
        keep={name: [float(value) for value in values] for name, values in (keep or {}).items()},
        notes=dict(notes or {}),
    )


def hard_slots(chip_types: Sequence[ChipType], chips: Sequence[str | None]) -> dict[str, Any]:
    """What `ChipSlotConfig` returns for a fixed design, one-hot and in double precision.

    Raises:
        ConfigError: an unknown chip, or none at all.
    """
    if not any(name is not None for name in chips):
        raise ConfigError("the design has no chip; fill at least one slot")
    return ChipSlotConfig(chip_types, len(chips)).double().fix(chips).eval()(hard=True)


def in_double(segment: Segment) -> Segment:
    """A copy whose costs are detached numbers of double precision."""

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().double() if value.is_floating_point() else value
        if isinstance(value, LayerOfTable):
            return copied(value.table())
        if isinstance(value, LayerTable):
            return copied(value)
        return value

    def copied(value: Any) -> Any:
        fields = [one.name for one in dataclasses.fields(value) if one.init]
        return dataclasses.replace(value, **{name: plain(getattr(value, name)) for name in fields})

    return copied(segment)


def pricing_of(proxy: Any) -> DesignPricing:
    """How a proxy prices, as far as it can be written down."""
    if not isinstance(proxy, roofline_proxy.RooflineProxy) or set(proxy.slowdown) != {1.0}:
        return DesignPricing("given")
    return DesignPricing(
        model="roofline",
        efficiency=dict(modelled_table.EFFICIENCY),
        bandwidth_efficiency=modelled_table.BANDWIDTH_EFFICIENCY,
        launch_ms=modelled_table.LAUNCH_MS,
        compute_power=modelled_table.COMPUTE_POWER,
        memory_power=modelled_table.MEMORY_POWER,
        attention_power=modelled_table.ATTENTION_POWER,
        least_flops=roofline_proxy.LEAST_FLOPS,
        least_bytes_per_s=roofline_proxy.LEAST_BYTES_PER_S,
    )


def _by_place(config: MappingConfig) -> MappingConfig:
    """Hops of a finished design follow its positions, whatever the search was told."""
    return dataclasses.replace(config, hops=None)


def _segments(
    segments: Sequence[Segment],
    mapping: Sequence[int],
    chips: Sequence[str | None],
    chip_types: Sequence[ChipType],
    proxy: Any,
) -> list[DesignSegment]:
    names = [chip.name for chip in chip_types]
    predicted = cost_matrix(segments, [dict(chip.specs()) for chip in chip_types], proxy)
    return [
        DesignSegment(
            id=segment.id,
            slot=int(slot),
            layers=list(segment.layer_indices),
            parent_id=segment.parent_id,
            weight_bytes=float(segment.weight_bytes),
            resident_bytes=float(segment.act_bytes),
            output_bytes=float(segment.traffic_out_bytes),
            latency_ms=float(predicted["lat_ms"][k, names.index(str(chips[slot]))]),
            power_w=float(predicted["power_w"][k, names.index(str(chips[slot]))]),
            kernels=_kernels(segment.kernels),
        )
        for k, (segment, slot) in enumerate(zip(segments, mapping, strict=True))
    ]


def _kernels(table: LayerTable | None) -> list[DesignKernel]:
    if table is None:
        return []
    columns = (table.kind, table.count, table.flops, table.bytes_moved, table.precision)
    return [
        DesignKernel(KERNEL_KINDS[kind], launches, flops, moved, "16bit" if precision else "fp32")
        for kind, launches, flops, moved, precision in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _placed(
    chips: Sequence[str | None],
    chip_types: Sequence[ChipType],
    places: Float[np.ndarray, "S 2"],
    plan: PipelinePlan,
    segments: Sequence[Segment],
    region: Region,
    gap_mm: float,
    t_amb_c: float,
    t_max_c: float,
) -> LayoutInstance:
    """The placement problem of the chips, its nets weighted by the MB between each pair of slots."""
    by_name = {chip.name: chip for chip in chip_types}
    full = [j for j, name in enumerate(chips) if name is not None]
    row = {slot: place for place, slot in enumerate(full)}
    carried: dict[tuple[int, int], float] = {}
    for source, (a, b) in zip(plan.send_source.tolist(), plan.send_slots.tolist(), strict=True):
        _add(carried, row[a], row[b], float(segments[source].traffic_out_bytes) / 1e6)
    rings = zip(
        plan.ring_source.tolist(),
        plan.ring_slots.tolist(),
        plan.ring_parts.tolist(),
        plan.ring_rounds.tolist(),
        strict=True,
    )
    for source, (a, b), parts, rounds in rings:
        amount = rounds * 2.0 * (parts - 1.0) / parts * float(segments[source].traffic_out_bytes) / 1e6
        _add(carried, row[a], row[b], amount)
    held = [by_name[str(chips[slot])] for slot in full]
    return instance_of_design(
        "design",
        np.array([chip.width_mm for chip in held], dtype=float),
        np.array([chip.height_mm for chip in held], dtype=float),
        np.array([chip.tdp_w for chip in held], dtype=float),
        np.array(sorted(carried), dtype=np.int64).reshape(-1, 2),
        np.array([carried[net] for net in sorted(carried)], dtype=float),
        region,
        gap_mm=gap_mm,
        t_amb_c=t_amb_c,
        t_max_c=t_max_c,
    )


def _add(carried: dict[tuple[int, int], float], a: int, b: int, amount_mb: float) -> None:
    if a != b:
        net = (min(a, b), max(a, b))
        carried[net] = carried.get(net, 0.0) + amount_mb


def _costs(costs: HardwareCosts, placed: LayoutScore, num_chips: int) -> DesignCosts:
    latency_ms, energy_j = float(costs.latency_ms()), float(costs.energy_j)
    return DesignCosts(
        latency_ms=latency_ms,
        period_ms=float(costs.time.period_ms()),
        serial_ms=float(costs.time.serial_ms),
        comm_ms=float(costs.time.send_ms.sum()),
        energy_j=energy_j,
        energy_dynamic_j=float(costs.dynamic_j.sum()),
        energy_link_j=float(costs.link_j.sum()),
        energy_idle_j=float(costs.idle_w.sum()) * latency_ms / 1e3,
        edp_j_ms=energy_j * latency_ms,
        peak_mem_mb=float(costs.used_mb.max()),
        area_mm2=float(costs.area_mm2),
        tdp_w=float(costs.tdp_w),
        num_chips=num_chips,
        wire_mb_mm=placed.wl_mm,
        t_peak_c=placed.t_peak_c,
        legal=placed.legal,
    )
