"""Where the chips of a design lie: the starting grid, legal places found by search or by moving chips apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..codesign.pipeline_plan import split_like
from ..config import RunConfig
from ..config.chips import ChipType
from ..errors import ConfigError
from ..layout.instance import Region
from ..layout.start import grid_centres
from ..layout.wafer_layout import LayoutSettings, WaferLayout
from ..mapping.fine_split import connect
from ..mapping.segments import Segment
from .alternation import Candidate

SIDES = ("width_mm", "height_mm", "tdp_w")


def region_of(cfg: RunConfig) -> Region:
    """The wafer."""
    return Region("circle", cfg.layout.radius_mm, cfg.layout.radius_mm)


def starting_layout(cfg: RunConfig, chip_types: Sequence[ChipType]) -> WaferLayout:
    """The wafer with its slots on the grid, in double precision: legality is checked to a millionth of a millimetre.

    Raises:
        ConfigError: chips as large as the library's would overlap on the grid, or stick out of the wafer.
    """
    wafer, slots = cfg.layout, cfg.chips.num_slots
    names = None if cfg.chips.fixed is None else set(cfg.chips.fixed)
    largest = max((chip for chip in chip_types if names is None or chip.name in names), key=_longest_mm)
    if _longest_mm(largest) + wafer.gap_mm > wafer.grid_pitch_mm:
        raise ConfigError(
            f"layout.grid_pitch_mm={wafer.grid_pitch_mm:g}: {largest.name} needs {_longest_mm(largest):g} mm and a gap "
            f"of {wafer.gap_mm:g} mm; widen the pitch or take smaller chips"
        )
    grid = torch.from_numpy(grid_centres(slots, wafer.grid_pitch_mm, wafer.grid_pitch_mm))
    reach_mm = float((grid.abs() + _longest_mm(largest) / 2).norm(dim=1).max())
    if reach_mm > wafer.radius_mm:
        raise ConfigError(
            f"layout.radius_mm={wafer.radius_mm:g}: {slots} slots of {wafer.grid_pitch_mm:g} mm reach {reach_mm:.4g} "
            "mm from the middle; enlarge the wafer, narrow the pitch or take fewer slots"
        )
    settings = LayoutSettings(wafer.optimize_layout, wafer.overlap, gap_mm=wafer.gap_mm)
    layout = WaferLayout(slots, region_of(cfg), settings).double()
    with torch.no_grad():
        layout.pos.copy_(grid)
    return layout


def _longest_mm(chip: ChipType) -> float:
    return max(chip.width_mm, chip.height_mm)


def grid_places(cfg: RunConfig) -> tuple[tuple[float, float], ...]:
    """Centres of the slots on the grid."""
    pitch_mm = cfg.layout.grid_pitch_mm
    return tuple((float(x), float(y)) for x, y in grid_centres(cfg.chips.num_slots, pitch_mm, pitch_mm))


@torch.no_grad()
def with_places(layout: WaferLayout, candidate: Candidate) -> None:
    """Put the slots where the design has them."""
    layout.pos.copy_(torch.tensor(candidate.pos_mm, dtype=layout.pos.dtype))


@torch.no_grad()
def held_places(layout: WaferLayout, held: Candidate | None) -> Float[Tensor, "S 2"]:
    """Centres of the slots of the design that is held; without one, where they are."""
    if held is not None:
        with_places(layout, held)
    return layout.pos.detach().clone()


def kept_mapping(solved: Mapping[str, Any]) -> dict[str, Any]:
    """Of the result of a solve, what a price needs, as tensors and plain values."""
    metas = [{"segment_id": meta["segment_id"], "groups": meta["groups"]} for meta in solved["rewire_meta"]]
    return {"mapping": [int(slot) for slot in solved["mapping"]], "rewire_meta": metas}


def placed_candidate(
    cfg: RunConfig,
    layout: WaferLayout,
    chip_types: Sequence[ChipType],
    segments: Sequence[Segment],
    candidate: Candidate,
    held: Candidate | None,
    iterations: int | None = None,
) -> Candidate:
    """The design with legal places found by search, where the layout is free and its chips are not placed already.

    Args:
        iterations: moves of the search; with it given, chips that have places are placed anew too.

    Raises:
        DataError: the chips cannot fit the wafer.
    """
    known = held is not None and candidate.chips == held.chips and iterations is None
    if not cfg.layout.optimize_layout or known:
        return candidate
    with_places(layout, candidate)
    live, specs, edges = _as_placed(segments, candidate, chip_types)
    layout.place_(
        candidate.mapping["mapping"],
        live,
        specs,
        iterations=iterations or cfg.layout.iterations,
        seed=cfg.seed,
        edges=edges,
    )
    return replace(candidate, pos_mm=_read(layout))


def legal_candidate(
    layout: WaferLayout, chip_types: Sequence[ChipType], segments: Sequence[Segment], candidate: Candidate
) -> Candidate | None:
    """The design with its chips moved apart to the nearest legal places; None if none were found."""
    with_places(layout, candidate)
    live, specs, edges = _as_placed(segments, candidate, chip_types)
    if not layout.legalize_(candidate.mapping["mapping"], live, specs, edges=edges):
        return None
    return replace(candidate, pos_mm=_read(layout))


def _read(layout: WaferLayout) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in layout.pos.detach().tolist())


def _as_placed(
    segments: Sequence[Segment], candidate: Candidate, chip_types: Sequence[ChipType]
) -> tuple[list[Segment], dict[str, Tensor], list[tuple[int, int, Any]]]:
    """Segments with their parts, the sizes of what each slot holds, and who sends how many bytes to whom."""
    live = connect(split_like(list(segments), candidate.mapping["rewire_meta"]))
    by_name = {chip.name: chip for chip in chip_types}
    specs = {
        key: torch.tensor([0.0 if name is None else getattr(by_name[name], key) for name in candidate.chips])
        for key in SIDES
    }
    number = {segment.id: position for position, segment in enumerate(live)}
    edges = [(position, number[to], amount) for position, one in enumerate(live) for to, amount in one.edges]
    return live, specs, edges
