"""The setting that the Version-C bars are about, and its loops without a network: chips, gates, random instances.

Gates are uniform (half of the tokens from a quarter of the depth on, three quarters of heads and hidden units), as a
trained network leaves them, unless a figure moves them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.codesign.chip_slots import ChipSlotConfig, temperature_at
from pipeline.codesign.hard_problem import HardProblem, hard_problem
from pipeline.codesign.harden import hard_slots
from pipeline.codesign.hw_loss_version_c import compute_hw_loss, soft_hard_gap
from pipeline.codesign.mapping_search import best_mapping
from pipeline.codesign.mapping_step import solve_for_slots
from pipeline.config.chips import ChipType
from pipeline.config.codesign import HwLossConfig
from pipeline.config.hardware import HwConfig, WorkloadConfig
from pipeline.hw_proxy.chip_library import load_chip_library
from pipeline.hw_proxy.roofline_proxy import RooflineProxy
from pipeline.hw_proxy.workload import KeepRatios, workload_costs
from pipeline.mapping.mapping_solver import MappingSolver
from pipeline.mapping.segments import Segment
from pipeline.trainer.workload_segments import workload_segments

PROXY = RooflineProxy()
DEPTH = 12
TOKENS, GATES = 0.5, 0.75
TAU = (2.0, 0.2)
PRESSURE = (1.0, 10.0)
GROWING = ("lambda_area", "lambda_tdp", "lambda_cap", "lambda_empty")


def library(name: str = "default") -> list[ChipType]:
    """Chip types of a named library."""
    return load_chip_library().select(name)


def loss_cfg(**changes: Any) -> HwLossConfig:
    """The energy-delay product within the default budgets."""
    values: dict[str, Any] = {
        "lambda_T": 1.0,
        "lambda_E": 1.0,
        "lambda_mem": 0.0,
        "lambda_chip": 0.02,
        "lambda_area": 2.0,
        "mapping_cfg": {"iterations": 20_000},
    }
    return HwLossConfig(**{**values, **changes})


def keep(tokens: float = TOKENS, gates: float = GATES) -> KeepRatios:
    """Uniform keep ratios in double precision."""
    ones = torch.ones(DEPTH, dtype=torch.float64)
    kept = torch.cat([ones[: DEPTH // 4], tokens * ones[DEPTH // 4 :]])
    return KeepRatios(kept, gates * ones, gates * ones, ones, ones)


def segments_of(ratios: KeepRatios, segment_size: int = 2, batch: int = 20) -> list[Segment]:
    """The default workload's segments."""
    return workload_segments(HwConfig(workload=WorkloadConfig(batch=batch), segment_size=segment_size), ratios)


@dataclass(frozen=True)
class Instance:
    """A co-design problem: segments, chip types, slots, budgets."""

    segments: list[Segment]
    chip_types: list[ChipType]
    num_slots: int
    cfg: HwLossConfig

    def problem(self) -> HardProblem:
        """Judged by the energy-delay product."""
        return hard_problem(self.segments, self.chip_types, PROXY, self.cfg).energy_delay()


def random_instance(seed: int) -> Instance:
    """Up to four slots, three to five chip types with jittered figures, another batch, and budgets that bind."""
    rng = np.random.default_rng([seed, 6])
    types = [library("control")[int(t)] for t in rng.permutation(6)[: rng.integers(3, 6)]]
    jittered = [_jittered(chip, rng) for chip in types]
    slots = int(rng.integers(2, 5))
    area = sum(sorted(chip.area_mm2 for chip in jittered)[-2:]) * rng.uniform(0.8, 1.4)
    tdp = sum(sorted(chip.tdp_w for chip in jittered)[-2:]) * rng.uniform(0.8, 1.4)
    ratios = keep(float(rng.uniform(0.4, 0.7)), float(rng.uniform(0.6, 0.9)))
    cfg = loss_cfg(area_budget_mm2=float(area), tdp_budget_w=float(tdp), mapping_cfg={"iterations": 5000})
    return Instance(segments_of(ratios, batch=int(rng.integers(8, 25))), jittered, slots, cfg)


def _jittered(chip: ChipType, rng: np.random.Generator) -> ChipType:
    factor = rng.uniform(0.7, 1.4, 5)
    side = float(np.sqrt(factor[3]))
    return dataclasses.replace(
        chip,
        peak_flops=chip.peak_flops * factor[0],
        peak_bw=chip.peak_bw * factor[1],
        mem_gb=chip.mem_gb * factor[2],
        area_mm2=chip.area_mm2 * factor[3],
        width_mm=chip.width_mm * side,
        height_mm=chip.height_mm * side,
        tdp_w=chip.tdp_w * factor[4],
        idle_w=None,
    )


@dataclass(frozen=True)
class Descended:
    """What the gradient leaves: the slots, and the loss of the relaxed and of the hardened chips at the end."""

    slots: ChipSlotConfig
    soft: float
    hard: float

    @property
    def gap(self) -> float:
        """Relative."""
        return soft_hard_gap(self.soft, self.hard, "log")


def descend_types(instance: Instance, *, outer: int = 8, steps: int = 40, lr: float = 0.15, seed: int = 0) -> Descended:
    """B and C of the loop with the network held still: Gumbel samples, one solve per outer iteration."""
    slots = ChipSlotConfig(instance.chip_types, instance.num_slots, TAU[0], seed=seed)
    solver, cfg = MappingSolver(instance.num_slots), instance.cfg
    start = solve_for_slots(instance.segments, slots.eval()(), instance.chip_types, PROXY, solver, None, cfg)
    held = _usable(start, [0] * len(instance.segments))
    _, stats = compute_hw_loss(instance.segments, slots, PROXY, solver, None, cfg, mapping_result=held)
    base = stats["reference"]
    for iteration in range(outer):
        slots.tau = temperature_at(iteration, outer, *TAU)
        factor = PRESSURE[0] * (PRESSURE[1] / PRESSURE[0]) ** (iteration / max(1, outer - 1))
        pressed = cfg.model_copy(update={name: getattr(cfg, name) * factor for name in GROWING})
        optimizer = torch.optim.Adam([slots.logits], lr=lr)
        for step in range(steps):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + iteration * 1000 + step)
            loss, _ = compute_hw_loss(
                instance.segments,
                slots,
                PROXY,
                solver,
                None,
                pressed,
                mapping_result=held,
                reference=base,
                chips=slots.train()(generator=generator),
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        solved = solve_for_slots(instance.segments, slots.eval()(), instance.chip_types, PROXY, solver, None, cfg)
        held = _usable(solved, held["mapping"])
    chips = slots.harden(cfg.area_budget_mm2, cfg.tdp_budget_w)
    losses = [
        _mapped_loss(instance, slots, view, base) for view in (slots.eval()(), hard_slots(slots.chip_types, chips))
    ]
    return Descended(slots, *losses)


def _usable(solved: dict[str, Any], otherwise: Sequence[int]) -> dict[str, Any]:
    mapping = list(otherwise) if solved["mapping"] is None else solved["mapping"]
    return {"mapping": mapping, "rewire_meta": []}


@torch.no_grad()
def _mapped_loss(instance: Instance, slots: ChipSlotConfig, view: dict[str, Any], base: dict[str, float]) -> float:
    solver = MappingSolver(instance.num_slots)
    solved = solve_for_slots(instance.segments, view, instance.chip_types, PROXY, solver, None, instance.cfg)
    if solved["mapping"] is None:
        return float("inf")
    loss, _ = compute_hw_loss(
        instance.segments,
        slots,
        PROXY,
        solver,
        None,
        instance.cfg,
        mapping_result=solved,
        reference=base,
        chips=view,
        smoothing=0.0,
    )
    return float(loss)


def random_designs(problem: HardProblem, num_slots: int, count: int, seed: int) -> list[list[str | None]]:
    """Chips drawn at random until the next would break a budget."""
    rng = np.random.default_rng(seed)
    designs: list[list[str | None]] = []
    while len(designs) < count:
        types: list[int] = []
        while len(types) < num_slots:
            drawn = int(rng.integers(len(problem.names)))
            if not problem.within_budgets([*types, drawn]):
                break
            types.append(drawn)
        if types:
            designs.append([problem.names[t] for t in types])
    return designs


def joint_gates(
    types: Sequence[str], wanted: Tensor, *, outer: int = 4, steps: int = 40, mu: float, with_hardware: bool
) -> tuple[float, float, KeepRatios]:
    """A and C in turn on given chips, with mu times the squared distance from the wanted gates as the task's loss.

    `wanted` [2, depth] are shares of heads and hidden units that a task asks for. FLOPs are kept at those of uniform
    gates; without hardware the wanted gates are only scaled to them.

    Returns:
        the logarithm of the energy-delay product after a last mapping, the mean-square shift of the gates, the ratios.
    """
    chips = library()
    cfg = loss_cfg(lambda_chip=0.0)
    names = list(types)
    held = hard_slots(chips, names)
    slots = ChipSlotConfig(chips, len(names)).fix(list(types))
    gates = torch.nn.Parameter(wanted.clone())
    optimizer = torch.optim.Adam([gates], lr=0.02)
    mapping: list[int] = []
    reference: dict[str, float] | None = None
    for _ in range(outer if with_hardware else 0):
        mapping = list(_best_on(names, at_equal_flops(gates.detach())).mapping)
        for _ in range(steps):
            segments = segments_of(at_equal_flops(gates))
            loss, stats = compute_hw_loss(
                segments,
                slots,
                PROXY,
                MappingSolver(len(names)),
                None,
                cfg.model_copy(update={"mapping_cfg": {"hops": (1 - np.eye(len(names))).tolist()}}),
                mapping_result={"mapping": mapping, "rewire_meta": []},
                reference=reference,
                chips=held,
            )
            reference = stats["reference"]
            optimizer.zero_grad()
            (loss + mu * (gates - wanted).square().sum()).backward()
            optimizer.step()
            with torch.no_grad():
                gates.clamp_(0.2, 1.0)
    ratios = at_equal_flops(gates.detach())
    shift = float((torch.stack([ratios.heads, ratios.channels]) - _scaled(wanted)).square().mean().sqrt())
    return _best_on(names, ratios).value, shift, ratios


def _best_on(names: Sequence[str], ratios: KeepRatios) -> Any:
    problem = hard_problem(segments_of(ratios), library(), PROXY, loss_cfg()).energy_delay()
    return best_mapping(problem, problem.types_of(list(names)))


def _flops(ratios: KeepRatios) -> Tensor:
    kernels = workload_costs(WorkloadConfig(), ratios).kernels
    return (kernels.count * kernels.flops).sum()


def _scaled(gates: Tensor) -> Tensor:
    ratios = at_equal_flops(gates)
    return torch.stack([ratios.heads, ratios.channels])


def at_equal_flops(gates: Tensor) -> KeepRatios:
    """Ratios whose FLOPs are those of uniform gates: all gates shifted alike, a step of Newton at a time."""
    uniform = keep()
    target = _flops(uniform).detach()

    def shifted(shift: Tensor) -> KeepRatios:
        moved = (gates + shift).clamp(0.05, 1.0)
        return dataclasses.replace(uniform, heads=moved[0], channels=moved[1])

    shift = torch.zeros((), dtype=torch.float64)
    for _ in range(4):
        low, high = _flops(shifted(shift)), _flops(shifted(shift + 1e-4))
        shift = shift - (low - target) / ((high - low) / 1e-4).detach()
    return shifted(shift)
