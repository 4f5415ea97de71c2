"""The end of a run: the design searched once more for the final gates, placed legally, and set beside its rivals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ..codesign.design import Design
from ..codesign.harden import hard_slots, make_design
from ..codesign.hw_loss_version_c import compute_hw_loss, soft_hard_gap
from ..codesign.mapping_step import solve_for_slots
from ..config import RunConfig
from ..errors import DataError
from ..mapping.segments import Segment
from .alternation import HARDENED, Candidate, Row
from .codesign_steps import CodesignSteps
from .definite_chips import DefiniteChips
from .design_interval import latency_interval
from .rivals import rival_designs
from .wafer_places import kept_mapping, placed_candidate, region_of, with_places

FINAL_MOVES = 5


@dataclass(frozen=True)
class FinalDesign:
    """What a run hands over.

    Attributes:
        design: for `design.json`.
        rivals: other designs for the same gates and budgets (`rivals.rival_designs`).
        rows: rows of `alternation.parquet`.
        soft_hard_gap: how far the loss of the relaxed chips is from that of what they harden to, relative; 0 with fixed
            chips.
    """

    design: Design
    rivals: pd.DataFrame
    rows: list[Row]
    soft_hard_gap: float


@torch.no_grad()
def finish_design(cfg: RunConfig, steps: CodesignSteps, held: Candidate, proxy: Path | None) -> FinalDesign:
    """Search, place and price the design for the network as it is now.

    Args:
        held: the alternation's design; it stays where nothing better is found.
        proxy: folder of the fitted proxy, for the interval of the latency.
    """
    segments = steps.segments()
    if cfg.mapping.update:
        held = _searched_again(cfg, steps, segments, held)
    mapping, certificate = _certified(steps, segments, held)
    held = mapping if steps.price(mapping)["L_hw"] <= steps.price(held)["L_hw"] else held
    figures = steps.price(held)
    outer = cfg.alternation.outer
    rows: list[Row] = [(outer, "final", 0, term, value) for term, value in figures.items()]
    rows.append((outer, "final", 0, HARDENED, figures["L_hw"]))
    gap, relaxed = _relaxed_and_hardened(cfg, steps, segments)
    rows += [(outer, "final", 0, name, value) for name, value in relaxed.items()]
    notes: dict[str, Any] = {
        "experiment": cfg.experiment,
        "seed": cfg.seed,
        "library": cfg.hw.library,
        "workload": cfg.hw.workload.model_dump(),
        "mapping_certificate": certificate,
        "L_hw": figures["L_hw"],
        "L_hw_without_layout": figures["L_hw"] - figures.get("term_layout", 0.0),
        "reference": steps.reference,
    }
    if proxy is not None:
        notes["latency_interval"] = latency_interval(proxy, steps, segments, held)
    keep = {name: values.tolist() for name, values in vars(steps.present()).items()}
    wafer = cfg.layout
    design = make_design(
        segments,
        held.chips,
        steps.slots.chip_types,
        held.mapping,
        steps.proxy,
        torch.tensor(held.pos_mm, dtype=torch.float64),
        steps.loss_cfg,
        region=region_of(cfg),
        gap_mm=wafer.gap_mm,
        keep=keep,
        notes=notes,
    )
    return FinalDesign(design, rival_designs(cfg, steps, segments, design), rows, gap)


def _searched_again(cfg: RunConfig, steps: CodesignSteps, segments: list[Segment], held: Candidate) -> Candidate:
    """The better of the design that is held and the one found for the final gates, both placed with more moves."""
    offered = held
    if cfg.chips.fixed is None:
        search = DefiniteChips(cfg, steps.loss_cfg, steps.slots, segments, steps.proxy)
        offered = search.best(cfg.alternation.outer, steps.reference, held, steps.layout)
    moves = FINAL_MOVES * cfg.layout.iterations
    candidates = [held, offered]
    for one in dict.fromkeys((held.chips, offered.chips)):
        source = offered if offered.chips == one else held
        candidates.append(
            placed_candidate(cfg, steps.layout, steps.slots.chip_types, segments, source, None, iterations=moves)
        )
    return min(candidates, key=lambda candidate: steps.price(candidate)["L_hw"])


def _certified(steps: CodesignSteps, segments: list[Segment], held: Candidate) -> tuple[Candidate, dict[str, Any]]:
    """The design with the mapping of one more solve on its own chips, and that solve's certificate."""
    with_places(steps.layout, held)
    chips = hard_slots(steps.slots.chip_types, held.chips)
    start = None if held.mapping["rewire_meta"] else held.mapping["mapping"]
    types = steps.slots.chip_types
    solved = solve_for_slots(
        segments, chips, types, steps.proxy, steps.solver, steps.layout.pos, steps.loss_cfg, warm_start=start
    )
    if solved["mapping"] is None:
        raise DataError(f"the final chips {held.chips} do not hold the segments: {solved['reason']}")
    bound = solved.get("unsplit_lower_bound", solved["lower_bound"])
    if steps.loss_cfg.mapping_strategy != "portfolio":
        # A one-shot strategy knows trivial bounds alone.
        best = steps.loss_cfg.model_copy(update={"mapping_strategy": "portfolio"})
        places = steps.layout.pos
        searched = solve_for_slots(segments, chips, types, steps.proxy, steps.solver, places, best, warm_start=start)
        bound = max(bound, searched.get("unsplit_lower_bound", searched["lower_bound"]))
    certificate = {
        "strategy": solved["strategy"],
        "objective": solved["objective"],
        "value_ms": float(solved["value"]),
        "lower_bound_ms": float(bound),
        "splits": len(solved["rewire_meta"]),
    }
    return Candidate(held.chips, kept_mapping(solved), held.pos_mm), certificate


def _relaxed_and_hardened(
    cfg: RunConfig, steps: CodesignSteps, segments: list[Segment]
) -> tuple[float, dict[str, float]]:
    """The gap between the relaxed chips' loss and that of what they harden to, both mapped anew, and both losses.

    The last temperature, the true maximum, chips on the grid; infinite where what they harden to holds nothing.
    """
    if cfg.chips.fixed is not None:
        return 0.0, {}
    steps.slots.tau = cfg.chips.tau_min
    flat = steps.loss_cfg.model_copy(update={"optimize_layout": False})
    chips = steps.slots.harden(flat.area_budget_mm2, flat.tdp_budget_w)
    losses = []
    for slots in (steps.slots.eval()(hard=False), hard_slots(steps.slots.chip_types, chips)):
        types = steps.slots.chip_types
        solved = solve_for_slots(segments, slots, types, steps.proxy, steps.solver, None, flat)
        if solved["mapping"] is None:
            return float("inf"), {}
        loss, _ = compute_hw_loss(
            segments,
            steps.slots,
            steps.proxy,
            steps.solver,
            None,
            flat,
            mapping_result=kept_mapping(solved),
            reference=steps.reference,
            chips=slots,
            smoothing=0.0,
        )
        losses.append(loss.item())
    soft, hard = losses
    return soft_hard_gap(soft, hard, flat.combine), {"L_hw_relaxed": soft, "L_hw_of_hardened_relaxed": hard}
