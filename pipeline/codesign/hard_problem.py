"""The hardened problem: real chips on slots, whole segments on chips; its value is L_hw without anything soft.

Plain arrays in double precision, made once per state of the gates, so that thousands of designs can be tried in a
second. `hw_loss_version_c` gives the same value for the same design (tested).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ..config.chips import ChipType
from ..config.codesign import HwLossConfig
from ..errors import ConfigError, DataError
from ..mapping.chip_slots import check_smallest_chip
from ..mapping.costs import mapping_config
from ..mapping.segments import Segment
from .prices import price_on_types

CAPACITY_TOLERANCE = 1e-9


@dataclass(frozen=True)
class HardProblem:
    """K segments in a chain, T chip types.

    Attributes:
        latency_ms, dynamic_j: of a segment on a type, energy above rest, [K, T].
        weight_mb, resident_mb: weights and largest activation of a segment, [K].
        traffic_mb: output of a segment, [K]; the last is not sent.
        usable_mb, idle_w, area_mm2, tdp_w: of a type, [T].
        serial: whether latency is the sum over segments (else the pipeline period).
        hop_ms, ms_per_mb, pj_per_bit: of a link.
        weights: lambda_T, lambda_E, lambda_mem, lambda_chip.
        logarithmic: whether latency, energy and memory count by their logarithm.
        reference: what they are divided by.
        area_budget_mm2, tdp_budget_w: of all chips.
    """

    names: tuple[str, ...]
    latency_ms: Float[np.ndarray, "K T"]
    dynamic_j: Float[np.ndarray, "K T"]
    weight_mb: Float[np.ndarray, " K"]
    resident_mb: Float[np.ndarray, " K"]
    traffic_mb: Float[np.ndarray, " K"]
    usable_mb: Float[np.ndarray, " T"]
    idle_w: Float[np.ndarray, " T"]
    area_mm2: Float[np.ndarray, " T"]
    tdp_w: Float[np.ndarray, " T"]
    serial: bool
    hop_ms: float
    ms_per_mb: float
    pj_per_bit: float
    weights: tuple[float, float, float, float]
    logarithmic: bool
    reference: tuple[float, float, float]
    area_budget_mm2: float
    tdp_budget_w: float

    @property
    def num_segments(self) -> int:
        """K."""
        return len(self.weight_mb)

    @property
    def holds(self) -> np.ndarray:
        """Which types can hold which segment at all, [K, T] bool."""
        need_mb = (self.weight_mb + self.resident_mb)[:, None]
        return np.asarray(need_mb <= self.usable_mb * (1 + CAPACITY_TOLERANCE))

    def types_of(self, chips: Sequence[str | None]) -> list[int]:
        """Columns of the named chips; None is left out.

        Raises:
            ConfigError: an unknown chip.
        """
        for name in chips:
            if name is not None and name not in self.names:
                raise ConfigError(f"chip '{name}' is not among {', '.join(self.names)}")
        return [self.names.index(name) for name in chips if name is not None]

    def within_budgets(self, types: Sequence[int]) -> bool:
        """Whether chips of these types together keep the area and the power budget."""
        chosen = list(types)
        return bool(
            self.area_mm2[chosen].sum() <= self.area_budget_mm2 * (1 + 1e-12)
            and self.tdp_w[chosen].sum() <= self.tdp_budget_w * (1 + 1e-12)
        )

    def value_of(self, latency_ms: float, energy_j: float, peak_mb: float, num_chips: int) -> float:
        """L_hw of totals: the weighted latency, energy and memory over their references, and the price of chips."""
        value = self.weights[3] * num_chips
        for weight, total, base in zip(self.weights, (latency_ms, energy_j, peak_mb), self.reference, strict=False):
            if weight:
                value += weight * (math.log(total / base) if self.logarithmic else total / base)
        return value

    def energy_delay(self) -> HardProblem:
        """The same problem judged by the energy-delay product alone: lambda_T = lambda_E = 1 in logarithms.

        Its value is the logarithm of J ms.
        """
        return replace(self, weights=(1.0, 1.0, 0.0, 0.0), logarithmic=True, reference=(1.0, 1.0, 1.0))


@dataclass(frozen=True)
class HardCosts:
    """What one hardened design costs; times of one batch. `busy_ms`, `used_mb` are per chip."""

    latency_ms: float
    energy_j: float
    peak_mb: float
    busy_ms: Float[np.ndarray, " n"]
    used_mb: Float[np.ndarray, " n"]
    fits: bool

    @property
    def edp_j_ms(self) -> float:
        """Energy-delay product."""
        return self.energy_j * self.latency_ms


def one_hop(number: int) -> Float[np.ndarray, "n n"]:
    """Links of a compact layout: one hop between any two chips."""
    return 1.0 - np.eye(number)


def hard_costs(
    problem: HardProblem, types: Sequence[int], mapping: Sequence[int], hops: Float[np.ndarray, "n n"] | None = None
) -> HardCosts:
    """Exact costs of segments on chips 0..n-1 of the given types; `hops` default to one between any two."""
    hops = one_hop(len(types)) if hops is None else hops
    place = np.asarray(mapping)
    kinds = np.asarray(types)[place]
    number, rows = len(types), np.arange(len(place))
    links = hops[place[:-1], place[1:]]
    send_ms = links * (problem.hop_ms + problem.traffic_mb[:-1] * problem.ms_per_mb)
    busy_ms = np.bincount(place, problem.latency_ms[rows, kinds], number)
    busy_ms = busy_ms + np.bincount(place[:-1], send_ms, number)
    resident_mb = np.zeros(number)
    np.maximum.at(resident_mb, place, problem.resident_mb)
    used_mb = np.bincount(place, problem.weight_mb, number) + resident_mb
    latency_ms = float(busy_ms.sum() if problem.serial else busy_ms.max())
    link_j = (problem.traffic_mb[:-1] * links).sum() * 8e6 * problem.pj_per_bit * 1e-12
    rest_j = problem.idle_w[list(types)].sum() * latency_ms / 1e3
    return HardCosts(
        latency_ms=latency_ms,
        energy_j=float(problem.dynamic_j[rows, kinds].sum() + link_j + rest_j),
        peak_mb=float(used_mb.max()),
        busy_ms=busy_ms,
        used_mb=used_mb,
        fits=bool((used_mb <= problem.usable_mb[list(types)] * (1 + CAPACITY_TOLERANCE)).all()),
    )


@torch.no_grad()
def hard_problem(
    segments: Sequence[Segment],
    chip_types: Sequence[ChipType],
    proxy: Any,
    cfg: HwLossConfig,
    reference: Mapping[str, float] | None = None,
) -> HardProblem:
    """The hardened problem at the present gates.

    Args:
        reference: `latency_ms energy_j peak_mem_mb` that terms are divided by; 1 each without it.

    Raises:
        DataError: segments with parts (a fine split is decided after the chips), or one that no chip type can hold.
        ConfigError: budgets that no chip keeps.
    """
    if any(segment.parent_id is not None for segment in segments):
        raise DataError("the type search takes unsplit segments; split them once chips are chosen")
    config = mapping_config(cfg.mapping_cfg)
    check_smallest_chip(chip_types, cfg.area_budget_mm2, cfg.tdp_budget_w)
    prices = price_on_types(segments, chip_types, proxy)
    base = {"latency_ms": 1.0, "energy_j": 1.0, "peak_mem_mb": 1.0} | dict(reference or {})

    def of_segments(name: str) -> Float[np.ndarray, " K"]:
        return np.array([float(getattr(segment, name)) for segment in segments]) / 1e6

    def of_types(name: str) -> Float[np.ndarray, " T"]:
        return np.array([float(getattr(chip, name)) for chip in chip_types])

    problem = HardProblem(
        names=tuple(chip.name for chip in chip_types),
        latency_ms=np.ascontiguousarray(prices.latency_ms.double().cpu().numpy()),
        dynamic_j=np.ascontiguousarray(prices.dynamic_j.double().cpu().numpy()),
        weight_mb=of_segments("weight_bytes"),
        resident_mb=of_segments("act_bytes"),
        traffic_mb=of_segments("traffic_out_bytes"),
        usable_mb=1e3 * config.usable_memory_share * of_types("mem_gb"),
        idle_w=of_types("idle_w"),
        area_mm2=of_types("area_mm2"),
        tdp_w=of_types("tdp_w"),
        serial=config.objective == "serial",
        hop_ms=config.hop_ms,
        ms_per_mb=config.ms_per_mb,
        pj_per_bit=config.pj_per_bit,
        weights=(cfg.lambda_T, cfg.lambda_E, cfg.lambda_mem, cfg.lambda_chip),
        logarithmic=cfg.combine == "log",
        reference=(base["latency_ms"], base["energy_j"], base["peak_mem_mb"]),
        area_budget_mm2=cfg.area_budget_mm2,
        tdp_budget_w=cfg.tdp_budget_w,
    )
    nowhere = np.flatnonzero(~problem.holds.any(axis=1))
    if nowhere.size:
        k = int(nowhere[0])
        need_mb = problem.weight_mb[k] + problem.resident_mb[k]
        raise DataError(
            f"segment {segments[k].id} needs {need_mb:.6g} MB; the largest chip type can hold "
            f"{problem.usable_mb.max():.6g} MB: prune more, cut smaller segments or add a chip with more memory"
        )
    return problem
