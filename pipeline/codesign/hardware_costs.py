"""Time, energy, memory and size of a pipeline on chips that are held with probabilities, as tensors with units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..config.chips import ChipType
from ..config.codesign import HwLossConfig
from ..hw_proxy.layer_table import stack
from ..mapping.costs import MappingConfig
from ..mapping.segments import Segment
from .pipeline_plan import PipelinePlan, PipelineTime, pipeline_time
from .prices import Prices, price_on_devices, price_on_types

BITS_PER_MB = 8e6
ALMOST_EMPTY = 1e-6


@dataclass(frozen=True)
class HardwareCosts:
    """One batch. Expectations over chip types unless said otherwise.

    Attributes:
        time: per slot, and the sum over stages.
        objective: `balanced` (a batch per pipeline period counts) or `serial` (one batch on its own).
        dynamic_j: energy above rest, per slot; link_j: of all transfers, per sender; idle_w: what each slot draws at
            rest, by the probability that it is open.
        used_mb: weights and largest activation held by each slot.
        capacity_excess: expected relative memory above each slot's capacity.
        work_share: share of the compute time that each slot has.
        area_mm2, tdp_w: of all chips.
    """

    time: PipelineTime
    objective: str
    dynamic_j: Float[Tensor, " S"]
    link_j: Float[Tensor, " S"]
    idle_w: Float[Tensor, " S"]
    used_mb: Float[Tensor, " S"]
    capacity_excess: Float[Tensor, " S"]
    work_share: Float[Tensor, " S"]
    area_mm2: Float[Tensor, ""]
    tdp_w: Float[Tensor, ""]

    def latency_ms(self, smoothing: float = 0.0) -> Float[Tensor, ""]:
        """Time in the mapping's objective."""
        return self.time.serial_ms if self.objective == "serial" else self.time.period_ms(smoothing)

    def energy_of(self, latency_ms: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Joules of a batch that holds the chips for `latency_ms`: work, links, and open chips at rest."""
        return self.dynamic_j.sum() + self.link_j.sum() + self.idle_w.sum() * latency_ms / 1e3

    @property
    def energy_j(self) -> Float[Tensor, ""]:
        """Joules of a batch at the true latency."""
        return self.energy_of(self.latency_ms())

    def totals(self, smoothing: float) -> dict[str, Float[Tensor, ""]]:
        """What the loss divides by its value at step 0."""
        latency_ms = self.latency_ms(smoothing)
        return {
            "latency_ms": latency_ms,
            "energy_j": self.energy_of(latency_ms),
            "peak_mem_mb": self.used_mb.max(),
        }

    @torch.no_grad()
    def statistics(self, alpha: Float[Tensor, "S T1"], cfg: HwLossConfig) -> dict[str, Any]:
        """All of it as plain numbers, with a row per slot."""
        period_ms, latency_ms = self.time.period_ms(), self.latency_ms()
        energy_j = self.energy_of(latency_ms)
        numbers = {
            "latency_ms": latency_ms,
            "period_ms": period_ms,
            "serial_ms": self.time.serial_ms,
            "comm_ms": self.time.send_ms.sum(),
            "energy_j": energy_j,
            "energy_dynamic_j": self.dynamic_j.sum(),
            "energy_link_j": self.link_j.sum(),
            "energy_idle_j": self.idle_w.sum() * latency_ms / 1e3,
            "edp_j_ms": energy_j * latency_ms,
            "peak_mem_mb": self.used_mb.max(),
            "capacity_excess": self.capacity_excess.sum(),
            "area_mm2": self.area_mm2,
            "tdp_w": self.tdp_w,
            "expected_chips": (1.0 - alpha[:, -1]).sum(),
        }
        values = plain_numbers(numbers.values())
        rows = _rows(self, alpha, period_ms)
        opened = [row["slot"] for row in rows if row["empty"] <= 0.5]
        working = [row["slot"] for row in rows if row["compute_ms"] > 0.0]
        return {
            **dict(zip(numbers, values, strict=True)),
            "area_budget_mm2": cfg.area_budget_mm2,
            "tdp_budget_w": cfg.tdp_budget_w,
            "open_slots": opened,
            "used_slots": working,
            "idle_slots": [slot for slot in opened if slot not in working],
            "per_slot": rows,
        }


def _rows(costs: HardwareCosts, alpha: Tensor, period_ms: Tensor) -> list[dict[str, Any]]:
    columns = {
        "compute_ms": costs.time.compute_ms,
        "send_ms": costs.time.send_ms,
        "idle_ms": period_ms - costs.time.busy_ms,
        "memory_mb": costs.used_mb,
        "capacity_excess": costs.capacity_excess,
        "energy_j": costs.dynamic_j + costs.link_j,
        "idle_w": costs.idle_w,
        "empty": alpha[:, -1],
    }
    like = costs.idle_w
    table = torch.stack([column.detach().to(like) for column in columns.values()], dim=1).tolist()
    return [{"slot": slot, **dict(zip(columns, row, strict=True))} for slot, row in enumerate(table)]


def plain_numbers(values: Iterable[Float[Tensor, ""]]) -> list[float]:
    """All of them in one go: at every training step a transfer each would be felt."""
    found = [value.detach() for value in values]
    return torch.stack([value.to(found[0]) for value in found]).tolist()


def hardware_costs(
    segments: Sequence[Segment],
    plan: PipelinePlan,
    slots: Mapping[str, Any],
    chip_types: Sequence[ChipType],
    proxy: Any,
    hops: Float[Tensor, "S S"],
    cost_mode: str,
    config: MappingConfig,
) -> HardwareCosts:
    """Price the segments (parts included) where `plan` puts them.

    Args:
        slots: `alpha`, `type_share`, `eff_specs` of `ChipSlotConfig`.
        hops: between slots; may be live.
        cost_mode: `expected`: cost expected over real chip types, given that a slot is not empty; `spec_mix`: cost
            of the slot's mixed specification, an empty share of which is no chip at all.
    """
    mixed = cost_mode == "spec_mix"
    if mixed:
        prices, where = _mixed_prices(segments, plan, slots, proxy)
        latency_ms, dynamic_j = (matrix[torch.arange(len(where)), where] for matrix in prices)
    else:
        on_types = price_on_types(segments, chip_types, proxy)
        share = slots["type_share"][plan.slots].to(on_types.latency_ms)
        latency_ms, dynamic_j = (on_types.latency_ms * share).sum(1), (on_types.dynamic_j * share).sum(1)
    like = latency_ms
    traffic_mb = stack([segment.traffic_out_bytes for segment in segments], like.dtype) / 1e6
    time = pipeline_time(plan, latency_ms, traffic_mb, hops.to(like), config.hop_ms, config.ms_per_mb)
    none = like.new_zeros(plan.num_slots)
    alpha, specs = slots["alpha"].to(like), slots["eff_specs"]
    used_mb = _used_mb(segments, plan, like)
    return HardwareCosts(
        time=time,
        objective="serial" if config.objective == "serial" else "balanced",
        dynamic_j=none.index_add(0, plan.slots, dynamic_j),
        link_j=time.sent_mb_hops * BITS_PER_MB * config.pj_per_bit * 1e-12,
        idle_w=specs["idle_w"].to(like),
        used_mb=used_mb,
        capacity_excess=_excess(used_mb, slots, chip_types, mixed, config.usable_memory_share),
        work_share=time.compute_ms / time.compute_ms.sum(),
        area_mm2=specs["area_mm2"].to(alpha).sum(),
        tdp_w=specs["tdp_w"].to(alpha).sum(),
    )


def _mixed_prices(
    segments: Sequence[Segment], plan: PipelinePlan, slots: Mapping[str, Any], proxy: Any
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Prices on the mixed specifications of the slots in use, and the column of each segment's slot."""
    used, where = plan.slots.unique(return_inverse=True)
    devices = [{name: values[slot] for name, values in slots["eff_specs"].items()} for slot in used.tolist()]
    prices: Prices = price_on_devices(segments, devices, proxy)
    return (prices.latency_ms, prices.dynamic_j), where


def _used_mb(segments: Sequence[Segment], plan: PipelinePlan, like: Tensor) -> Float[Tensor, " S"]:
    """Weights add up; of the activations the largest counts, since segments on one slot take turns."""
    weights_mb = stack([segment.weight_bytes for segment in segments], like.dtype) / 1e6
    held_mb = stack([segment.act_bytes for segment in segments], like.dtype) / 1e6
    none = like.new_zeros(plan.num_slots)
    largest = none.scatter_reduce(0, plan.slots, held_mb, "amax")
    return none.index_add(0, plan.slots, weights_mb) + largest


def _excess(
    used_mb: Float[Tensor, " S"],
    slots: Mapping[str, Any],
    chip_types: Sequence[ChipType],
    mixed: bool,
    usable_share: float,
) -> Float[Tensor, " S"]:
    if mixed:
        capacity_mb = (1e3 * usable_share * slots["eff_specs"]["mem_gb"].to(used_mb)).clamp(min=ALMOST_EMPTY)
        return (used_mb / capacity_mb - 1.0).clamp(min=0.0)
    capacity_mb = used_mb.new_tensor([1e3 * usable_share * chip.mem_gb for chip in chip_types])
    over = (used_mb[:, None] / capacity_mb - 1.0).clamp(min=0.0)
    return (slots["type_share"].to(used_mb) * over).sum(1)
