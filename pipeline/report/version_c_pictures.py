"""Gantt chart and wafer map of a finished design (`design.json`), drawn by the mapper's and the placer's own code."""

from __future__ import annotations

import numpy as np

from ..codesign.design import Design
from ..config.chips import ChipType
from ..hw_proxy.chip_library import load_chip_library
from ..layout.design import instance_of_design
from ..layout.instance import Region
from ..layout.wafer_map import wafer_map_svg
from ..mapping.figures import gantt_svg
from ..mapping.instance import MappingInstance

MEGABYTE = 1e6


def gantt_of(design: Design) -> str | None:
    """One pipeline period as inline SVG; None where segments are split, which the chart does not know."""
    if any(segment.parent_id is not None for segment in design.segments):
        return None
    chips = [None if name is None else load_chip_library().chips[name] for name in design.chips]
    K, S = len(design.segments), len(chips)
    latency_ms = np.zeros((K, S))
    for k, segment in enumerate(design.segments):
        latency_ms[k, segment.slot] = segment.latency_ms
    instance = MappingInstance(
        name="",
        latency_ms=latency_ms,
        memory_mb=_memory_mb(design),
        capacity_mb=np.array([_usable_mb(design, chip) for chip in chips]),
        traffic_mb=np.array([segment.output_bytes / MEGABYTE for segment in design.segments[:-1]]),
        hops=_hops(design),
        hop_ms=design.link.hop_ms,
        ms_per_mb=1.0 / design.link.gb_s,
        power_w=np.array([0.0 if chip is None else chip.tdp_w for chip in chips]),
        pj_per_bit=design.link.pj_per_bit,
    )
    names = [name or "empty" for name in design.chips]
    return gantt_svg(
        instance, np.array(design.mapping), slot_names=[f"{slot} {name}" for slot, name in enumerate(names)]
    )


def _usable_mb(design: Design, chip: ChipType | None) -> float:
    return 0.0 if chip is None else 1e3 * design.budgets.usable_memory_share * chip.mem_gb


def _memory_mb(design: Design) -> np.ndarray:
    """Weights of each segment; the largest activation of a slot counts once, with the segment that has it."""
    memory_mb = np.array([segment.weight_bytes / MEGABYTE for segment in design.segments])
    for slot in set(design.mapping):
        mine = [k for k, segment in enumerate(design.segments) if segment.slot == slot]
        largest = max(mine, key=lambda k: design.segments[k].resident_bytes)
        memory_mb[largest] += design.segments[largest].resident_bytes / MEGABYTE
    return memory_mb


def _hops(design: Design) -> np.ndarray:
    places = np.array([place or (0.0, 0.0) for place in design.positions_mm])
    apart_mm = np.abs(places[:, None] - places[None]).sum(-1)
    hops = np.maximum(1.0, np.ceil(apart_mm / design.link.reach_mm - 1e-9))
    np.fill_diagonal(hops, 0.0)
    return hops


def wafer_of(design: Design) -> str:
    """The chips in their places on the wafer as inline SVG."""
    full = [slot for slot, name in enumerate(design.chips) if name is not None]
    chips = [load_chip_library().chips[str(design.chips[slot])] for slot in full]
    row = {slot: place for place, slot in enumerate(full)}
    carried: dict[tuple[int, int], float] = {}
    for sender, reader in zip(design.segments[:-1], design.segments[1:], strict=True):
        net = tuple(sorted((row[sender.slot], row[reader.slot])))
        if net[0] != net[1]:
            carried[net] = carried.get(net, 0.0) + sender.output_bytes / MEGABYTE  # type: ignore[index,arg-type]
    nets = sorted(carried)
    instance = instance_of_design(
        "design",
        np.array([chip.width_mm for chip in chips]),
        np.array([chip.height_mm for chip in chips]),
        np.array([chip.tdp_w for chip in chips]),
        np.array(nets, dtype=np.int64).reshape(-1, 2),
        np.array([round(carried[net], 1) for net in nets]),
        Region(design.region.kind, design.region.half_x_mm, design.region.half_y_mm),
        gap_mm=design.region.gap_mm,
        t_amb_c=design.heat.t_amb_c,
        t_max_c=design.heat.t_max_c,
    )
    places = np.array([design.positions_mm[slot] for slot in full], dtype=float)
    return wafer_map_svg(instance, places, names=[chip.name for chip in chips])
