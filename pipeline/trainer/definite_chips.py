"""From relaxed chips to definite ones: candidates within the budgets, polished, mapped, and put on slots.

The candidates are what the logits harden to (or their controls: chips drawn at random, or none); a 2-exchange then
improves them. Which slot a chip gets, and the mapping under the real number of hops, are settled after that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ..codesign.hard_problem import HardProblem, hard_problem
from ..codesign.mapping_search import MappedChips, best_mapping
from ..codesign.type_search import Judge, best_homogeneous, mapped_designs, polish
from ..config import RunConfig
from ..config.codesign import HwLossConfig
from ..layout.wafer_layout import WaferLayout
from ..mapping.chip_slots import ChipSlotConfig
from ..mapping.costs import link_hops, mapping_config
from ..mapping.greedy import snake_order
from ..mapping.segments import Segment
from .alternation import Candidate
from .chip_arrangement import arrange_on_grid, traffic_between
from .wafer_places import grid_places, held_places

RANDOM_DESIGNS = 4


class DefiniteChips:
    """The search for definite chips at one state of the network.

    Args:
        segments: unsplit, under the hard gates.
    """

    def __init__(
        self,
        cfg: RunConfig,
        loss_cfg: HwLossConfig,
        slots: ChipSlotConfig,
        segments: Sequence[Segment],
        proxy: object,
    ) -> None:
        self.cfg, self.loss_cfg, self.slots, self.segments, self.proxy = cfg, loss_cfg, slots, segments, proxy

    def problem(self, reference: dict[str, float] | None = None) -> HardProblem:
        """The hardened problem, its terms divided by `reference`."""
        return hard_problem(self.segments, self.slots.chip_types, self.proxy, self.loss_cfg, reference)

    def reference(self) -> dict[str, float]:
        """Latency, energy and memory of the best design of equal chips: what the terms of the loss are divided by.

        Raises:
            DataError: nothing fits within the budgets.
        """
        found = best_homogeneous(self.problem().energy_delay(), self.slots.num_slots)
        assert found.best.costs is not None
        costs = found.best.costs
        return {"latency_ms": costs.latency_ms, "energy_j": costs.energy_j, "peak_mem_mb": costs.peak_mb}

    def best(self, outer: int, reference: dict[str, float], held: Candidate | None, layout: WaferLayout) -> Candidate:
        """The best design found, its chips on slots.

        Raises:
            DataError: nothing fits within the budgets.
        """
        problem = self.problem(reference)
        found = self._chips(problem, outer, held)
        chips = [problem.names[t] for t in found.types]
        if held is not None and sorted(chips) == sorted(name for name in held.chips if name is not None):
            return self._remapped(problem, held, layout)
        return self._on_slots(problem, found)

    def _chips(self, problem: HardProblem, outer: int, held: Candidate | None) -> MappedChips:
        """Polished from equal chips too, but only at first and at the end: in between the design held is a start."""
        judge = Judge(problem, seed=self.cfg.seed)
        designs = self._starts(problem, outer)
        if self.cfg.chips.polish:
            between = held is not None and outer < self.cfg.alternation.outer
            equal = self.cfg.chips.start != "random" and not between
            if held is not None:
                designs = [list(held.chips), *designs]
            return polish(problem, designs, self.slots.num_slots, homogeneous=equal, judge=judge).best
        mapped = [design for design in mapped_designs(problem, designs, judge) if design.feasible]
        if not mapped:
            # Nothing that the logits say holds the segments: begin from equal chips until it does.
            return best_homogeneous(problem, self.slots.num_slots, judge=judge).best
        return min(mapped, key=lambda design: design.value)

    def _starts(self, problem: HardProblem, outer: int) -> list[list[str | None]]:
        chips = self.cfg.chips
        if chips.start == "homogeneous":
            return []
        if chips.start == "random":
            rng = np.random.default_rng([self.cfg.seed, outer])
            return [random_design(problem, self.slots.num_slots, rng) for _ in range(RANDOM_DESIGNS)]
        budgets = (self.loss_cfg.area_budget_mm2, self.loss_cfg.tdp_budget_w)
        return self.slots.harden_candidates(*budgets, undecided_slots=chips.undecided_slots)

    def _on_slots(self, problem: HardProblem, found: MappedChips) -> Candidate:
        """Chips on neighbouring slots of the grid, and the mapping once more under the real hops."""
        S = self.slots.num_slots
        hops = link_hops(S, None, mapping_config(self.loss_cfg.mapping_cfg))
        columns = int(np.ceil(np.sqrt(S)))
        snake = [int(j) for j in snake_order(int(np.ceil(S / columns)), columns) if j < S]
        between = traffic_between(found.mapping, problem.traffic_mb, len(found.types))
        slots = arrange_on_grid(between, hops, snake)
        mapping = self._mapped(problem, found.types, slots, hops, found.mapping)
        chips: list[str | None] = [None] * S
        for slot, kind in zip(slots, found.types, strict=True):
            chips[slot] = problem.names[kind]
        return Candidate(tuple(chips), {"mapping": mapping, "rewire_meta": []}, grid_places(self.cfg))

    def _remapped(self, problem: HardProblem, held: Candidate, layout: WaferLayout) -> Candidate:
        """The same chips where they are, their mapping improved."""
        slots = [j for j, name in enumerate(held.chips) if name is not None]
        types = [problem.names.index(str(held.chips[j])) for j in slots]
        hops = link_hops(len(held.chips), held_places(layout, held), mapping_config(self.loss_cfg.mapping_cfg))
        start = None
        if not held.mapping["rewire_meta"]:
            start = [slots.index(slot) for slot in held.mapping["mapping"]]
        mapping = self._mapped(problem, types, slots, hops, start)
        return Candidate(held.chips, {"mapping": mapping, "rewire_meta": []}, held.pos_mm)

    def _mapped(
        self,
        problem: HardProblem,
        types: Sequence[int],
        slots: Sequence[int],
        hops: Float[np.ndarray, "S S"],
        start: Sequence[int] | None,
    ) -> list[int]:
        chosen = best_mapping(problem, list(types), hops[np.ix_(slots, slots)], start=start, seed=self.cfg.seed)
        # Annealing may miss what the start has, or what fits.
        places = chosen.mapping if chosen.feasible else start
        assert places is not None
        return [slots[place] for place in places]


def random_design(problem: HardProblem, num_slots: int, rng: np.random.Generator) -> list[str | None]:
    """Chips drawn at random until a draw would break a budget or all slots are full; at least one."""
    able = [t for t in range(len(problem.names)) if problem.within_budgets([t])]
    types: list[int] = []
    while len(types) < num_slots:
        drawn = int(rng.choice(able))
        if not problem.within_budgets([*types, drawn]):
            break
        types.append(drawn)
    return [problem.names[t] for t in types]
