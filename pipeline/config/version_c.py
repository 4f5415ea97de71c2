"""Several chips in the loop (spec §8-13): what slots hold, how segments are mapped and chips placed, who moves when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .section import Positive, Section

AboveZero = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]


class ChipsConfig(Section):
    """The slots of the wafer and what they hold (spec §8.2)."""

    fixed: list[str | None] | None = Field(
        None, description="the chip of each slot (null leaves it empty), with hw.mode=multi_chip_fixed; else learned"
    )
    num_slots: Positive = Field(16, description="slots on the wafer; the length of `fixed`, if that is given")
    cost_mode: Literal["expected", "spec_mix"] = Field(
        "expected", description="expected cost over real chip types, or the cost of the spec's mixed specification"
    )
    init_std: AboveZero = Field(0.5, description="spread of the seeded noise that chip logits start from")
    tau_init: AboveZero = Field(2.0, description="temperature of the softmax over chip types, first outer iteration")
    tau_min: AboveZero = Field(0.2, description="the same, last outer iteration; it falls by equal ratios")
    undecided_slots: int = Field(
        4, ge=0, description="least decided slots whose second choice is tried too when the chips are hardened"
    )
    start: Literal["gradient", "random", "homogeneous"] = Field(
        "gradient",
        description="designs that hardening starts from: the learned logits, chips drawn at random within the budgets, "
        "or none but the homogeneous ones (controls)",
    )
    polish: bool = Field(True, description="exchange up to two chips of a hardened design while that pays")

    @model_validator(mode="after")
    def _check(self) -> ChipsConfig:
        if self.fixed is not None and len(self.fixed) != self.num_slots:
            raise ValueError(
                f"chips.fixed names {len(self.fixed)} slots, but chips.num_slots={self.num_slots}; make them agree"
            )
        if self.fixed is not None and not any(self.fixed):
            raise ValueError(f"chips.fixed={self.fixed}: every slot is empty; name at least one chip")
        if self.start == "homogeneous" and not self.polish:
            raise ValueError("chips.start=homogeneous needs chips.polish=true: without it nothing is left to try")
        return self


class SegmentMappingConfig(Section):
    """Segments to slots (spec §10, docs/mapping.md)."""

    strategy: Literal["round_robin", "greedy", "greedy_local", "dp", "lagrangian", "anneal", "milp", "portfolio"] = (
        Field("portfolio", description="how a mapping is found")
    )
    objective: Literal["balanced", "serial"] = Field(
        "balanced", description="the busiest slot's time (pipeline period), or the time of one batch through all slots"
    )
    iterations: Positive = Field(20_000, description="moves of a search; a clock would make runs differ")
    usable_memory_share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.9, description="share of a chip's memory that may be filled"
    )
    fine_split: bool = Field(False, description="run a segment as parallel parts where that pays (spec §9.3)")
    fine_groups: Annotated[int, Field(ge=2)] = Field(2, description="parts of a split segment")
    permutation: Literal["affinity", "random"] = Field(
        "affinity", description="channels of a split segment grouped by affinity, or permuted at random (the spec)"
    )
    update: bool = Field(
        True, description="solve again in every outer iteration (step C); false keeps the first mapping"
    )


class WaferConfig(Section):
    """Where the chips lie (spec §11, docs/layout.md)."""

    optimize_layout: bool = Field(False, description="move chips (step D) and place them at the end; false is the grid")
    overlap: Literal["rect", "circle"] = Field(
        "rect", description="overlap of the real rectangles, or the spec's circles"
    )
    radius_mm: AboveZero = Field(150.0, description="radius of the wafer")
    grid_pitch_mm: AboveZero = Field(32.0, description="distance of neighbouring slots on the starting grid; one hop")
    gap_mm: NotNegative = Field(0.5, description="least distance between two chips")
    iterations: Positive = Field(20_000, description="moves of the search that places the final chips")


class AlternationConfig(Section):
    """Who moves when (spec §13.2): A network, B chip types, C mapping, D positions, `outer` times."""

    outer: Positive = Field(4, description="outer iterations")
    steps_theta: Positive = Field(15, description="A: training steps per outer iteration; the run's others follow them")
    steps_alpha: int = Field(40, ge=0, description="B: steps on the chip logits per outer iteration; 0 leaves B out")
    steps_layout: int = Field(60, ge=0, description="D: steps on the positions per outer iteration; 0 leaves D out")
    lr_alpha: AboveZero = Field(0.15, description="learning rate of B (Adam, started anew in every outer iteration)")
    lr_layout_mm: AboveZero = Field(1.0, description="learning rate of D (Adam), mm")
    penalty_first: AboveZero = Field(
        1.0, description="factor on the penalties of budgets and capacity in B, first outer iteration"
    )
    penalty_last: AboveZero = Field(10.0, description="the same, last outer iteration; it rises by equal ratios")
