"""The mapping module of spec §10: segments, chips and a proxy in, a mapping with its certificate out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigError
from .costs import MappingConfig, build_instance, cost_matrix, mapping_config, slot_devices
from .fine_split import Plan, refine
from .fork_join import GraphTime, graph_time
from .greedy import snake_order
from .instance import MappingInstance
from .objective import Objective, pipeline_latency_ms
from .segments import Segment, mark_fine_splittable_segments
from .solution import Solution, per_slot_rows
from .strategies import Strategy, solve_instance

MODES = ("serial", "balanced", "pipeline")


class MappingSolver:
    """Maps segments to `num_slots` slots (spec §10); holds no state between calls."""

    def __init__(self, num_slots: int) -> None:
        if num_slots < 1:
            raise ConfigError(f"num_slots={num_slots}: give at least one slot")
        self.num_slots = num_slots

    def build_cost_matrix(
        self, segments: Sequence[Segment], eff_specs: Mapping[str, Any], proxy: Any
    ) -> dict[str, Tensor]:
        """Latency (ms), memory (MB) and power (W) of each segment on each slot, [K, S], gradients kept (spec §10.1).

        Args:
            eff_specs: per specification a vector over slots, e.g. `peak_flops`, `peak_bw`, `mem_gb`.
            proxy: has `predict_segments(features, devices)` (one batched call) or `predict_segment(features)`.

        Raises:
            DataError: the proxy's answer lacks something or is NaN.
        """
        return cost_matrix(segments, slot_devices(eff_specs, self.num_slots), proxy)

    def estimate_pipeline_latency(
        self,
        mapping: Sequence[int],
        lat_ms: Float[Tensor, "K S"],
        mode: str,
        *,
        send_ms: Float[Tensor, " K-1"] | None = None,
        num_samples: int = 1,
    ) -> Float[Tensor, ""]:
        """Latency in ms of a given mapping, differentiable in `lat_ms` and `send_ms` (spec §10.2).

        `serial` sums everything, `balanced` is the busiest slot (sends charged to the sender), `pipeline` is
        serial + (num_samples - 1) * balanced: the pipeline with its fill.

        Raises:
            ConfigError: an unknown mode.
        """
        if mode not in MODES:
            raise ConfigError(f"mode {mode!r}: choose from {', '.join(MODES)}")
        slots = torch.as_tensor(mapping, dtype=torch.long, device=lat_ms.device)
        compute = lat_ms[torch.arange(len(slots), device=lat_ms.device), slots]
        spent = compute if send_ms is None else compute + torch.nn.functional.pad(send_ms, (0, 1))
        serial = spent.sum()
        if mode == "serial":
            return serial
        busiest = torch.zeros(lat_ms.shape[1], dtype=spent.dtype, device=spent.device).index_add(0, slots, spent).max()
        return busiest if mode == "balanced" else serial + (num_samples - 1) * busiest

    def solve_mapping(
        self,
        segments: list[Segment],
        eff_specs: Mapping[str, Any],
        hw_proxy: Any,
        layout_positions: Any = None,
        strategy: str = "portfolio",
        cfg: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Solve and, with `fine_split`, refine (spec §10.3).

        Args:
            layout_positions: [S, 2] chip centres in mm; without them slots sit on a square grid, one hop apart.
            cfg: keys of `costs.MappingConfig`.

        Returns:
            The spec's `mapping per_slot_time total_latency_ms comm_ms segments rewire_meta`, and `serial_ms
            balanced_ms pipeline_ms value lower_bound gap strategy objective seconds per_slot incumbent reason`.
            Without a feasible mapping `mapping` is None, times are infinite and `reason` says why. `lower_bound` is
            about unsplit segments; once a split is taken it is 0 and `unsplit_lower_bound` keeps it.

        Raises:
            ConfigError, DataError: unusable configuration or costs.
        """
        config = mapping_config(cfg)
        if not segments:
            raise ConfigError("there are no segments to map")
        costs = self.build_cost_matrix(segments, eff_specs, hw_proxy)
        instance = build_instance(segments, costs, eff_specs, layout_positions, config)
        columns = config.grid_columns or math.ceil(math.sqrt(self.num_slots))
        snake = snake_order(math.ceil(self.num_slots / columns), columns)
        order = snake[snake < self.num_slots]
        if config.open_slots is not None:
            order = order[np.asarray(config.open_slots, dtype=bool)[order]]
        solution = solve_instance(
            instance,
            cast(Objective, config.objective),
            cast(Strategy, strategy),
            seconds=config.seconds,
            iterations=config.iterations if config.seconds is None else None,
            seed=config.seed,
            warm_start=None if config.warm_start is None else np.array(config.warm_start, dtype=np.int64),
            slot_order=order,
        )
        result = _result(instance, solution, segments, config)
        if config.fine_split and solution.mapping is not None:
            result |= _split(instance, solution, segments, eff_specs, hw_proxy, config)
        return result


def _result(
    instance: MappingInstance, solution: Solution, segments: list[Segment], config: MappingConfig
) -> dict[str, Any]:
    rows = [] if solution.mapping is None else per_slot_rows(instance, solution.mapping)
    busy = [row["compute_ms"] + row["send_ms"] for row in rows]
    mapping = solution.mapping
    return {
        "mapping": None if mapping is None else mapping.tolist(),
        "per_slot_time": busy,
        "total_latency_ms": solution.value_ms,
        "comm_ms": sum(row["send_ms"] for row in rows) if rows else math.inf,
        "segments": segments,
        "rewire_meta": [],
        "serial_ms": sum(busy) if rows else math.inf,
        "balanced_ms": max(busy) if rows else math.inf,
        "pipeline_ms": math.inf if mapping is None else pipeline_latency_ms(instance, mapping, config.num_samples),
        "value": solution.value_ms,
        "lower_bound": solution.lower_bound_ms,
        "gap": solution.gap,
        "strategy": solution.strategy,
        "objective": solution.objective,
        "seconds": solution.seconds,
        "seconds_startup": solution.seconds_startup,
        "per_slot": rows,
        "incumbent": solution.incumbent,
        "reason": solution.reason,
    }


def _split(
    instance: MappingInstance,
    solution: Solution,
    segments: list[Segment],
    eff_specs: Mapping[str, Any],
    proxy: Any,
    config: MappingConfig,
) -> dict[str, Any]:
    """The keys that change when splits are taken; nothing if none pays."""
    mark_fine_splittable_segments(
        segments,
        {
            "fine_split_attn_ratio_threshold": config.fine_split_attn_ratio_threshold,
            "fine_split_traffic_threshold": config.fine_split_traffic_threshold,
            "fine_groups": config.fine_groups,
        },
    )
    assert solution.mapping is not None
    slots = solution.mapping.tolist()
    longest = sorted(range(len(segments)), key=lambda k: -instance.latency_ms[k, slots[k]])
    candidates = [segments[k].id for k in longest if segments[k].can_split_fine]
    plan = Plan(list(segments), slots, instance.latency_ms, instance.memory_mb)
    plan, metas = refine(plan, candidates, dict(eff_specs), proxy, instance.hops, instance.capacity_mb, config)
    if not metas:
        return {}
    time = graph_time(plan.segments, plan.slots, plan.latency_ms, instance.hops, config.hop_ms, config.ms_per_mb)
    value = time.serial_ms if config.objective == "serial" else time.period_ms
    return {
        "mapping": plan.slots,
        "segments": plan.segments,
        "rewire_meta": metas,
        "per_slot_time": time.busy_ms.tolist(),
        "total_latency_ms": value,
        "value": value,
        "comm_ms": time.comm_ms,
        "serial_ms": time.serial_ms,
        "balanced_ms": time.period_ms,
        "pipeline_ms": time.serial_ms + (config.num_samples - 1) * time.period_ms,
        "per_slot": _split_rows(instance, plan, time),
        "unsplit_lower_bound": solution.lower_bound_ms,
        "lower_bound": 0.0,
        "gap": math.inf,
    }


def _split_rows(instance: MappingInstance, plan: Plan, time: GraphTime) -> list[dict[str, Any]]:
    """The per-slot table of a refined pipeline."""
    busy_ms = time.busy_ms
    link_j = time.sent_mb_hops * 8e6 * instance.pj_per_bit * 1e-12
    S = instance.num_slots
    chosen = plan.latency_ms[np.arange(len(plan.slots)), plan.slots]
    compute = np.bincount(plan.slots, weights=chosen, minlength=S)
    memory = np.bincount(plan.slots, weights=plan.memory_mb, minlength=S)
    return [
        {
            "slot": j,
            "segments": [segment.id for segment, slot in zip(plan.segments, plan.slots, strict=True) if slot == j],
            "compute_ms": float(compute[j]),
            "send_ms": float(busy_ms[j] - compute[j]),
            "idle_ms": float(busy_ms.max() - busy_ms[j]),
            "memory_mb": float(memory[j]),
            "capacity_mb": float(instance.capacity_mb[j]),
            "energy_j": float(compute[j] * instance.power_w[j] / 1e3 + link_j[j]),
        }
        for j in range(S)
    ]
