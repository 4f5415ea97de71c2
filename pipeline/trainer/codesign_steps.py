"""Steps B, C and D of the alternation over the real engines: relaxed chips, mapping solver, type search, layout.

Every figure is that of the present network: its hard keep ratios are read anew. B works on relaxed chips and on the
mapping that C solved for them; what A and the end of the run are priced on is the design that is held, one hop meaning
`layout.grid_pitch_mm` between centres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..codesign.harden import hard_slots
from ..codesign.hw_loss_version_c import compute_hw_loss
from ..codesign.mapping_step import solve_for_slots
from ..config import RunConfig
from ..config.codesign import HwLossConfig
from ..errors import DataError
from ..hw_proxy.chip_library import ChipLibrary
from ..hw_proxy.workload import KeepRatios
from ..layout.wafer_layout import WaferLayout
from ..mapping.chip_slots import ChipSlotConfig, temperature_at
from ..mapping.mapping_solver import MappingSolver
from ..mapping.segments import Segment
from .alternation import Candidate
from .definite_chips import DefiniteChips
from .wafer_places import held_places, kept_mapping, legal_candidate, placed_candidate, with_places
from .workload_segments import workload_segments

# B undoes a wrong one in ten of its steps; at the last temperature it is 150 to 1.
COMMITTED_LEAD = 1.0
GROWING = ("lambda_area", "lambda_tdp", "lambda_cap", "lambda_empty")
FIGURES = ("latency_ms", "period_ms", "serial_ms", "comm_ms", "energy_j", "peak_mem_mb", "area_mm2", "tdp_w")


@dataclass
class CountingSolver:
    """A mapping solver that counts how often it is asked."""

    solver: MappingSolver
    calls: int = 0

    def solve_mapping(self, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """As `MappingSolver.solve_mapping`."""
        self.calls += 1
        return self.solver.solve_mapping(*arguments, **keywords)


def hw_loss_config(cfg: RunConfig, library: ChipLibrary) -> HwLossConfig:
    """The hardware loss that a run's configuration asks for."""
    hw, mapping = cfg.hw, cfg.mapping
    link = {"link_gb_s": library.link.gb_s, "hop_ms": library.link.hop_ms, "pj_per_bit": library.link.pj_per_bit}
    solver = mapping.model_dump(exclude={"strategy", "update"})
    weights = {name: getattr(hw, name) for name in HwLossConfig.model_fields if name in type(hw).model_fields}
    return HwLossConfig(
        **weights,
        cost_mode=cfg.chips.cost_mode,
        optimize_layout=cfg.layout.optimize_layout,
        mapping_strategy=mapping.strategy,
        mapping_cfg={**solver, **link, "seed": cfg.seed, "link_reach_mm": cfg.layout.grid_pitch_mm},
    )


class CodesignSteps:
    """What `alternate` calls, but for A, which `train` is given for.

    Args:
        cfg: the run's configuration.
        library: the chip library.
        proxy: prices segments on chips.
        slots, layout: what the slots hold, and where they are; both are changed in place.
        present: tells the hard keep ratios of the network as it is.
        train: one optimiser step of the network, given the design that is held and these steps.

    Attributes:
        start: what the network kept before any step.
        reference: what the terms of the loss are divided by, known after the first solve.
    """

    def __init__(
        self,
        cfg: RunConfig,
        library: ChipLibrary,
        proxy: Any,
        slots: ChipSlotConfig,
        layout: WaferLayout,
        present: Callable[[], KeepRatios],
        train: Callable[[Candidate], dict[str, float]],
    ) -> None:
        self.cfg, self.proxy, self.slots, self.layout, self.present = cfg, proxy, slots, layout, present
        self.train = train
        self.loss_cfg = hw_loss_config(cfg, library)
        self.solver = CountingSolver(MappingSolver(slots.num_slots))
        self.start = present()
        self.reference: dict[str, float] = {}
        self.relaxed: Mapping[str, Any] | None = None
        self._hard: dict[tuple[str | None, ...], dict[str, Any]] = {}
        self._segments: list[Segment] = []
        self._optimizer: torch.optim.Optimizer | None = None

    @property
    def solver_calls(self) -> int:
        """How often the mapping solver was called."""
        return self.solver.calls

    @torch.no_grad()
    def segments(self) -> list[Segment]:
        """The workload's segments under the network's present hard gates."""
        return workload_segments(self.cfg.hw, self.present())

    def loss(
        self, segments: list[Segment], candidate: Candidate, smoothing: float | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """L_hw of a definite design, with gradients to the segments and, if the layout moves, to the positions."""
        with_places(self.layout, candidate)
        return compute_hw_loss(
            segments,
            self.slots,
            self.proxy,
            self.solver,
            self.layout,
            self.loss_cfg,
            mapping_result=candidate.mapping,
            reference=self.reference or None,
            chips=self._chips(candidate.chips),
            smoothing=smoothing,
        )

    def _chips(self, chips: tuple[str | None, ...]) -> dict[str, Any]:
        if chips not in self._hard:
            self._hard[chips] = hard_slots(self.slots.chip_types, chips)
        return self._hard[chips]

    @torch.no_grad()
    def price(self, candidate: Candidate) -> dict[str, float]:
        """The hardened loss of a design at the true maximum over slots, its terms and totals."""
        _, stats = self.loss(self.segments(), candidate, smoothing=0.0)
        return figures_of(stats)

    def relax(self, outer: int, step: int) -> dict[str, float]:
        """B: one Adam step of the chip logits on a fresh Gumbel sample; the mapping stays."""
        if step == 0 or self._optimizer is None:
            self._segments = self.segments()
            self._optimizer = torch.optim.Adam([self.slots.logits], lr=self.cfg.alternation.lr_alpha)
        self.slots.tau = self._temperature(outer)
        generator = torch.Generator().manual_seed(hash((self.cfg.seed, outer, step)) % 2**63)
        sampled = self.slots.train()(generator=generator)
        loss, stats = compute_hw_loss(
            self._segments,
            self.slots,
            self.proxy,
            self.solver,
            None,
            self._pressed(outer),
            mapping_result=self.relaxed,
            reference=self.reference,
            chips=sampled,
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return {**figures_of(stats), "expected_chips": stats["expected_chips"], "tau": self.slots.tau}

    def _temperature(self, outer: int) -> float:
        chips = self.cfg.chips
        return temperature_at(max(outer, 0), self.cfg.alternation.outer, chips.tau_init, chips.tau_min)

    def _pressed(self, outer: int) -> HwLossConfig:
        """B's loss: penalties grow over the outer iterations, and positions are none of its business."""
        first, last = self.cfg.alternation.penalty_first, self.cfg.alternation.penalty_last
        factor = first * (last / first) ** (outer / max(1, self.cfg.alternation.outer - 1))
        grown = {name: getattr(self.loss_cfg, name) * factor for name in GROWING}
        return self.loss_cfg.model_copy(update={**grown, "optimize_layout": False})

    def solve(self, outer: int, held: Candidate | None) -> Candidate:
        """C: one solve for the relaxed chips, then the best definite chips; with fixed chips the solve is all.

        Before it the slots commit to what the budgets can pay for, so that the solve puts nothing elsewhere.

        Raises:
            DataError: nothing fits; says which memory or budget, by how much.
        """
        segments = self.segments()
        self.slots.tau = self._temperature(outer)
        if outer >= 0 and self.cfg.chips.fixed is None and self.cfg.mapping.update:
            self.slots.commit(self.loss_cfg.area_budget_mm2, self.loss_cfg.tdp_budget_w, lead=COMMITTED_LEAD)
        with torch.no_grad():
            slots = self.slots.eval()(hard=False)
        positions = held_places(self.layout, held) if self.cfg.chips.fixed is not None else None
        solved = solve_for_slots(
            segments, slots, self.slots.chip_types, self.proxy, self.solver, positions, self.loss_cfg
        )
        if held is not None and not self.cfg.mapping.update:
            return held
        if self.cfg.chips.fixed is not None:
            return self._on_fixed_chips(segments, solved, held)
        if solved["mapping"] is not None:
            self.relaxed = kept_mapping(solved)
        definite = DefiniteChips(self.cfg, self.loss_cfg, self.slots, segments, self.proxy)
        if not self.reference:
            self.reference = definite.reference()
        candidate = definite.best(max(outer, 0), self.reference, held, self.layout)
        if self.relaxed is None:
            self.relaxed = candidate.mapping
        return placed_candidate(self.cfg, self.layout, self.slots.chip_types, segments, candidate, held)

    def _on_fixed_chips(self, segments: list[Segment], solved: Mapping[str, Any], held: Candidate | None) -> Candidate:
        if solved["mapping"] is None:
            raise DataError(f"chips.fixed={self.cfg.chips.fixed}: the segments do not fit: {solved['reason']}")
        assert self.cfg.chips.fixed is not None
        places = held_places(self.layout, held)
        candidate = Candidate(tuple(self.cfg.chips.fixed), kept_mapping(solved), tuple(map(tuple, places.tolist())))
        candidate = placed_candidate(self.cfg, self.layout, self.slots.chip_types, segments, candidate, held)
        if not self.reference:
            with torch.no_grad():
                _, stats = self.loss(segments, candidate, smoothing=0.0)
            self.reference = dict(stats["reference"])
        return candidate

    def place(self, outer: int, held: Candidate) -> tuple[list[dict[str, float]], Candidate | None]:
        """D: gradient steps of the positions on L_hw, then the nearest legal places; nothing where chips stay put."""
        if not self.cfg.layout.optimize_layout:
            return [], None
        segments = self.segments()
        with_places(self.layout, held)
        optimizer = torch.optim.Adam([self.layout.pos], lr=self.cfg.alternation.lr_layout_mm)
        rows = []
        moved = held
        for _ in range(self.cfg.alternation.steps_layout):
            loss, stats = self.loss(segments, moved)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            moved = replace(held, pos_mm=tuple(map(tuple, self.layout.pos.detach().tolist())))
            layout = {name: float(stats["layout"][name]) for name in ("wl_mm", "overlap_mm2", "t_peak_c")}
            rows.append({**figures_of(stats), **layout})
        return rows, legal_candidate(self.layout, self.slots.chip_types, segments, moved)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as tensors and plain values."""
        return {
            "logits": self.slots.logits.detach().clone(),
            "reference": self.reference,
            "relaxed": None if self.relaxed is None else dict(self.relaxed),
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        with torch.no_grad():
            self.slots.logits.copy_(state["logits"])
        self.reference, self.relaxed = dict(state["reference"]), state["relaxed"]


def figures_of(stats: Mapping[str, Any]) -> dict[str, float]:
    """The loss, its terms and its totals, of the statistics of `compute_hw_loss`."""
    terms = {name: float(value) for name, value in stats.items() if name.startswith("term_")}
    return {"L_hw": float(stats["L_hw"]), **terms, **{name: float(stats[name]) for name in FIGURES}}
