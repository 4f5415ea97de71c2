"""Hardware in the loop: the deployment workload that costs are priced at, the chip, and the weights of the loss."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .section import Positive, Section

NotNegative = Annotated[float, Field(ge=0.0)]


class WorkloadConfig(Section):
    """The deployed network: keep ratios come from the trained one, costs from these sizes."""

    img: Positive = Field(224, description="side of the square frames, pixels")
    frames: Positive = Field(16, description="frames per clip")
    patch: Positive = Field(16, description="side of a square patch, pixels")
    dim: Positive = Field(768, description="token width")
    depth: Positive = Field(12, description="transformer blocks")
    heads: Positive = Field(12, description="attention heads per block")
    mlp_ratio: Annotated[float, Field(gt=0.0)] = Field(4.0, description="hidden width of the MLP over dim")
    batch: Positive = Field(20, description="clips per forward pass")
    precision: Literal["fp32", "fp16", "bf16"] = Field("bf16", description="arithmetic of weights and activations")
    attention: Literal["fused", "unfused"] = Field(
        "fused", description="one kernel, or scores written to memory between two products and a softmax"
    )

    @model_validator(mode="after")
    def _check(self) -> WorkloadConfig:
        if self.img % self.patch:
            raise ValueError(f"workload.img={self.img} is not a multiple of workload.patch={self.patch}")
        if self.dim % self.heads:
            raise ValueError(f"workload.dim={self.dim} is not a multiple of workload.heads={self.heads}")
        return self


class HwConfig(Section):
    """Hardware in the loop (spec §2.2, §12)."""

    mode: Literal["none", "single_device", "multi_chip_fixed", "version_c_full"] = Field(
        "none", description="which hardware loss is built; must pair with training.mode"
    )
    use_hw_loss: bool = Field(False, description="add the hardware loss to the task loss")
    workload: WorkloadConfig = Field(default_factory=lambda: WorkloadConfig())
    chip: str = Field("a100", description="the chip of `mode: single_device`, a name in configs/gpu_data.yaml")
    library: str = Field("default", description="the chips that predictions are made for, a library of that file")
    segment_size: Positive = Field(2, description="layers per segment; attention and MLP are layers of their own")
    lambda_T: NotNegative = Field(1.0, description="weight of latency, relative to its value at the first step")  # noqa: N815
    lambda_E: NotNegative = Field(0.0, description="weight of energy, relative to its value at the first step")  # noqa: N815
    lambda_mem: NotNegative = Field(0.0, description="weight of peak memory, relative to its value at the first step")
    lambda_chip: NotNegative | None = Field(None, description="several chips: price of an open slot; must be given")
    lambda_area: NotNegative | None = Field(
        None, description="several chips: price of chip area above the budget, per budget; must be given"
    )
    lambda_tdp: NotNegative = Field(
        2.0, description="several chips: price of design power above the budget, per budget"
    )
    lambda_cap: NotNegative = Field(
        1.0, description="several chips: price of memory above a slot's capacity, per capacity"
    )
    lambda_empty: NotNegative = Field(1.0, description="several chips: price of work on slots, by how empty they are")
    lambda_layout: NotNegative = Field(0.1, description="several chips: weight of the layout loss")
    combine: Literal["log", "linear"] = Field(
        "log",
        description="several chips: logarithms of latency, energy and memory (their product counts), or the spec's sum",
    )
    area_budget_mm2: Annotated[float, Field(gt=0.0)] = Field(2400.0, description="area of all chips together")
    tdp_budget_w: Annotated[float, Field(gt=0.0)] = Field(1400.0, description="design power of all chips together")
    lambda_macs: NotNegative = Field(
        0.0,
        description="weight of the squared distance from the FLOPs that uniform gates at ast.target_* leave",
    )
    proxy: Literal["fitted", "roofline"] = Field(
        "roofline",
        description="what prices segments: the proxy of EXP-P0-1, or the modelled roofline, which needs no fit",
    )


class Phase0Config(Section):
    """How much of Phase 0 a preset does: sizes of the generated table, of the host's profile and of its timings."""

    modelled_rows: Positive = Field(400, description="kernels per chip of the modelled table")
    host_grid: Literal["tiny", "small", "full"] = Field("small", description="what profile_host measures")
    design_repeats: Positive = Field(20, description="interleaved runs of each design on this machine")
    proxy: dict[str, Any] = Field(default_factory=dict, description="dotted keys of configs/proxy_*.yaml, and values")
