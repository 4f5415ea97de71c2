"""A finished co-design: which chips, where they are, what runs on them, and what that costs (`design.json`).

The file carries everything its costs follow from except the chips' own figures, which are in `configs/gpu_data.yaml`,
so that `check_design` can compute them again. `workflow/schemas/design.schema.json` is generated from here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ..artifacts import read_json, write_json
from ..errors import DataError

FORMAT, VERSION = "chipweave-design", 1
NotNegative = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Whole = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class DesignKernel:
    """What a segment launches on its chip."""

    kind: Annotated[str, Field(description="linear, matmul_batched, sdpa, layernorm, softmax, elementwise or conv2d")]
    launches: Annotated[float, Field(ge=0.0, description="per batch; a gate below 1 makes a fraction")]
    flops: Annotated[float, Field(ge=0.0, description="of one launch")]
    bytes: Annotated[float, Field(ge=0.0, description="read and written by one launch")]
    precision: Annotated[Literal["fp32", "16bit"], Field(description="arithmetic")]


@dataclass(frozen=True)
class DesignSegment:
    """A segment, or one of the parallel parts of a split one, in the order of the chain."""

    id: Whole
    slot: Annotated[int, Field(ge=0, description="the slot it runs on")]
    layers: Annotated[list[int], Field(description="layers of the workload; each ends in one all-reduce if split")]
    parent_id: Annotated[int | None, Field(description="neighbours with the same parent are parts of one segment")]
    weight_bytes: Annotated[float, Field(ge=0.0, description="weights held; they add up on a slot")]
    resident_bytes: Annotated[float, Field(ge=0.0, description="activations held; on a slot the largest counts")]
    output_bytes: Annotated[float, Field(ge=0.0, description="passed on to the next stage, per batch")]
    latency_ms: Annotated[float, Field(ge=0.0, description="of one batch on its chip")]
    power_w: Annotated[float, Field(ge=0.0, description="mean while it runs, rest included")]
    kernels: Annotated[list[DesignKernel], Field(description="empty where the price does not follow from kernels")]


@dataclass(frozen=True)
class DesignLink:
    """A transfer of x MB over h hops takes h (hop_ms + x / gb_s) ms; whole hops of `reach_mm`, Manhattan."""

    hop_ms: NotNegative
    gb_s: Positive
    pj_per_bit: NotNegative
    reach_mm: Positive


@dataclass(frozen=True)
class DesignRegion:
    """Where chips may lie, around (0, 0); a circle has both half sides equal to its radius."""

    kind: Literal["circle", "rect"]
    half_x_mm: Positive
    half_y_mm: Positive
    gap_mm: Annotated[float, Field(ge=0.0, description="between any two chips")]


@dataclass(frozen=True)
class DesignHeat:
    """Constants of the thermal proxy (docs/layout.md)."""

    t_amb_c: float
    t_max_c: float
    ell_mm: Positive
    r_self: NotNegative
    r_mut: NotNegative


@dataclass(frozen=True)
class DesignBudgets:
    """What all chips together may have, and which share of a chip's memory may be filled."""

    area_mm2: Positive
    tdp_w: Positive
    usable_memory_share: Annotated[float, Field(gt=0.0, le=1.0)]


@dataclass(frozen=True)
class DesignPricing:
    """How segments were priced: `roofline` follows from kernels and chips; `given` must be taken as it stands.

    latency = max(flops / (u peak), bytes / (e bandwidth)) + launch_ms per launch;
    power = idle + (TDP - idle) min(1, compute_power a t_flops / t + memory_power t_bytes / t), a in attention only.
    """

    model: Literal["roofline", "given"]
    efficiency: dict[str, float] = field(default_factory=dict)
    bandwidth_efficiency: float = 1.0
    launch_ms: float = 0.0
    compute_power: float = 0.0
    memory_power: float = 0.0
    attention_power: float = 0.0
    least_flops: float = 0.0
    least_bytes_per_s: float = 0.0


@dataclass(frozen=True)
class DesignCosts:
    """What the design costs, of one batch."""

    latency_ms: Annotated[float, Field(description="in the objective: period or serial")]
    period_ms: Annotated[float, Field(description="the busiest slot's time, sends included")]
    serial_ms: Annotated[float, Field(description="one batch alone, from the first segment to the last")]
    comm_ms: Annotated[float, Field(description="all sends together")]
    energy_j: Annotated[float, Field(description="work, links, and all chips at rest for latency_ms")]
    energy_dynamic_j: float
    energy_link_j: float
    energy_idle_j: float
    edp_j_ms: Annotated[float, Field(description="energy times latency")]
    peak_mem_mb: Annotated[float, Field(description="of the fullest slot")]
    area_mm2: float
    tdp_w: float
    num_chips: int
    wire_mb_mm: Annotated[float, Field(description="MB times Manhattan mm between centres, all transfers")]
    t_peak_c: Annotated[float, Field(description="by the thermal proxy")]
    legal: Annotated[bool, Field(description="no overlap, gaps kept, corners inside")]


@dataclass(frozen=True)
class Design:
    """A hardened design.

    Attributes:
        chips: what each slot holds, a name in the chip library or None.
        positions_mm: centre of each slot's chip; None where a slot is empty.
        objective: whose latency counts in `costs`.
        segments: in chain order, parts side by side.
        keep: what the network keeps, per block (`hw_proxy.workload.KeepRatios`).
        notes: where it comes from: experiment, seed, certificate of the mapping, ...
    """

    chips: list[str | None]
    positions_mm: list[tuple[float, float] | None]
    objective: Literal["balanced", "serial"]
    segments: Annotated[list[DesignSegment], Field(min_length=1)]
    link: DesignLink
    region: DesignRegion
    heat: DesignHeat
    budgets: DesignBudgets
    pricing: DesignPricing
    costs: DesignCosts
    keep: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    format: Literal["chipweave-design"] = "chipweave-design"
    version: Literal[1] = 1

    @property
    def mapping(self) -> list[int]:
        """Slot of each segment."""
        return [segment.slot for segment in self.segments]

    @property
    def chosen(self) -> list[str]:
        """The chips of the open slots."""
        return [name for name in self.chips if name is not None]


def write_design(path: Path | str, design: Design) -> None:
    """Write `design.json`."""
    write_json(path, asdict(design))


def read_design(path: Path | str) -> Design:
    """Read `design.json`.

    Raises:
        DataError: the file is missing, no JSON, or not a design; names the field.
    """
    fields = read_json(path)
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise DataError(f"{path}: is not a design of several chips: its field format must be {FORMAT!r}")
    try:
        design: Design = _adapter().validate_python(fields)
        return design
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {place}: {first['msg']}") from None


def design_schema() -> str:
    """The JSON schema of `design.json`."""
    return json.dumps(_adapter().json_schema(), indent=2) + "\n"


@cache
def _adapter() -> Any:
    return TypeAdapter(Design)
