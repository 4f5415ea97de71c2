"""Weights, budgets and modes of the multi-chip hardware loss (spec §12)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from .section import Section, Share

Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Budget = Annotated[float, Field(gt=0.0)]


class HwLossConfig(Section):
    """`L_hw` of several chips (spec §12, docs/version_c.md). The weights of the spec's own terms must be given."""

    lambda_T: Weight = Field(description="weight of the latency in the mapping's objective, over step 0")  # noqa: N815
    lambda_E: Weight = Field(description="weight of the energy of one batch, over step 0")  # noqa: N815
    lambda_mem: Weight = Field(description="weight of the fullest slot's memory, over step 0")
    lambda_chip: Weight = Field(description="price of one open slot")
    lambda_area: Weight = Field(description="price of chip area above the budget, per budget")
    lambda_tdp: Weight = Field(2.0, description="price of thermal design power above the budget, per budget")
    lambda_cap: Weight = Field(1.0, description="price of memory above a slot's capacity, per capacity")
    lambda_empty: Weight = Field(1.0, description="price of work on slots, by how empty they are")
    lambda_layout: Weight = Field(0.1, description="weight of the layout loss, over step 0")
    combine: Literal["log", "linear"] = Field(
        "log", description="logarithms of latency, energy and memory (their product counts), or the spec's sum"
    )
    cost_mode: Literal["expected", "spec_mix"] = Field(
        "expected", description="expected cost over real chip types, or the cost of the spec's mixed specification"
    )
    area_budget_mm2: Budget = Field(2400.0, description="area of all chips together")
    tdp_budget_w: Budget = Field(1400.0, description="thermal design power of all chips together")
    period_smoothing: Share = Field(
        0.03, description="temperature of the smooth maximum over slots, as a share of the busiest slot's time"
    )
    optimize_layout: bool = Field(False, description="add the layout loss and let positions move")
    mapping_strategy: Literal[
        "round_robin", "greedy", "greedy_local", "dp", "lagrangian", "anneal", "milp", "portfolio"
    ] = Field("portfolio", description="how segments are mapped to slots (docs/mapping.md)")
    mapping_cfg: dict[str, Any] = Field(
        default_factory=dict, description="keys of the mapping solver: objective, iterations, fine_split, hop_ms, ..."
    )
