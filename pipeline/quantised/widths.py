"""Bit widths of weights and activations, layer by layer (cascade plan, part 1)."""

from __future__ import annotations

from typing import Literal

from .folding import Role

Widths = Literal["mixed", "int8", "int16"]

# Pointwise convolutions have no width in the plan; they are INT8 like the depthwise ones before them.
MIXED: dict[Role, int] = {
    "block_1": 16,
    "cbam": 16,
    "depthwise": 8,
    "pointwise": 8,
    "classifier": 16,
    "features": 16,
    "c1": 16,
    "c2": 8,
    "c3": 8,
}
INPUT_BITS: dict[Widths, int] = {"mixed": 16, "int8": 8, "int16": 16}


def bits_of_role(widths: Widths, role: Role) -> int:
    """Bits of a layer's weights and of its output."""
    return MIXED[role] if widths == "mixed" else INPUT_BITS[widths]
