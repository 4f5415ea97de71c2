"""The hardware proxies: what they are fitted on, how, and how they are judged (`configs/proxy_*.yaml`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .sections import Positive, Section, Share


class ProxyData(Section):
    """Measured tables (docs/proxy.md has their formats)."""

    layer_latency: str | None = Field(None, description="Parquet table of measured layers; one row, one latency")
    devices: str | None = Field(None, description="CSV of device specs; every measured device needs a row")
    model_energy: str | None = Field(None, description="Parquet table of measured latency and mean power of models")
    model_kernels: str | None = Field(None, description="Parquet table of the kernels of those models")


class ProxyFit(Section):
    """How the latency model is fitted."""

    mode: Literal["efficiency", "direct"] = Field(
        "efficiency", description="efficiency relative to the roofline, or the spec's direct regression"
    )
    members: Positive = Field(2, description="networks fitted with different seeds; predictions are geometric means")
    hidden: list[Positive] = Field([64, 64], min_length=1, description="widths of each network's hidden layers")
    epochs: Positive = Field(28, description="passes over the rows")
    rows_per_group: Positive = Field(5000, description="rows taken per device, layer type and precision")
    batch_size: Positive = Field(1024, description="rows per step")
    lr: Annotated[float, Field(gt=0.0)] = Field(4e-3, description="peak learning rate of AdamW")
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(1e-2, description="decoupled weight decay")
    average_device_share: Share = Field(0.3, description="rows that train the average device instead of their own")
    over_weight: Annotated[float, Field(gt=0.0)] = Field(
        1.25, description="weight of predicting too slow; relative errors are unbounded on that side only"
    )
    latency_rule: Literal["sum", "max"] = Field("sum", description="how layers of a segment add up (spec §7.3)")


class ProxyEvaluation(Section):
    """Leave-one-device-out, the table by which a proxy is chosen."""

    leave_one_device_out: bool = Field(True, description="fit once per device without it, and predict it")
    members: Positive = Field(2, description="networks per left-out device")
    epochs: Positive = Field(15, description="passes over the rows per left-out device")
    rows_per_group: Positive = Field(2000, description="rows per group, for the fits without a device")
    rows_tested: Positive = Field(8000, description="rows tested per left-out device, drawn at random")
    baselines: list[Literal["roofline", "direct", "boosting"]] = Field(
        ["roofline", "direct"], description="what stands beside the proxy; boosting needs scikit-learn"
    )
    calibration_rows: Positive = Field(20, description="measured rows per layer type and precision of a new device")
    coverage: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(0.9, description="share that intervals should cover")


class ProxyConfig(Section):
    """The whole of `configs/proxy_ms_mem.yaml` and `configs/proxy_power.yaml`."""

    seed: int = Field(0, ge=0, description="seed of drawing rows and of fitting")
    threads: Positive = Field(1, description="CPU threads")
    data: ProxyData = Field(default_factory=lambda: ProxyData())
    fit: ProxyFit = Field(default_factory=lambda: ProxyFit())
    evaluation: ProxyEvaluation = Field(default_factory=lambda: ProxyEvaluation())
