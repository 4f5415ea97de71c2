"""The section of quantisation-aware training: bit widths, and how far the trained nets are moved onto integer grids."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .sections import Positive, Section


class QuantisationConfig(Section):
    """EXP-C4-qat: from the trained cascade to integers (docs/quantised.md)."""

    widths: Literal["mixed", "int8", "int16"] = Field(
        "mixed",
        description="bits of weights and activations: the plan's table (16 at input, attention and classifiers, else "
        "8), or all alike",
    )
    epochs: int = Field(3, ge=0, description="epochs of quantisation-aware training; 0 only rounds the trained nets")
    lr: Annotated[float, Field(gt=0.0)] = Field(2e-4, description="peak learning rate of AdamW")
    scale_windows: Positive = Field(256, description="training windows on which the scales are found")
