"""Integer arithmetic in ONNX operators that onnxruntime computes exactly.

Measured traps are avoided: `Max` and `Clip` of int64 are wrong beyond 31 bits (here `Where`), there is no arithmetic
shift (here an offset and a logical one), and `MatMulInteger` of unsigned by signed bytes saturates on processors
without VNNI (here both are unsigned).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Sums whose rounding stays in 32 bits, see `Graph.requantised`.
NARROW_BITS, NARROW_SHIFT, WIDEST_SHIFT = 30, 28, 60
# Longest sum of products of two unsigned bytes that fits 32 bits.
LONGEST_BYTE_SUM = (2**31 - 1) // 255**2


@dataclass
class Graph:
    """Nodes and constants of a graph under construction; methods append an operator and name its result."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def constant(self, values: np.ndarray) -> str:
        """An initialiser; equal ones are kept once."""
        key = f"{values.dtype}_{values.shape}_{hash(values.tobytes())}"
        if key not in self.constants:
            name = f"constant_{len(self.constants)}"
            self.constants[key] = numpy_helper.from_array(np.array(values, order="C"), name)
        return self.constants[key].name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def cast(self, values: str, dtype: type[np.integer]) -> str:
        """Another integer type."""
        return self.add("Cast", values, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshaped(self, values: str, *shape: int) -> str:
        """Another shape."""
        return self.add("Reshape", values, self.constant(np.array(shape, np.int64)))

    def gathered(self, values: str, indices: np.ndarray, axis: int) -> str:
        """Entries of an axis."""
        return self.add("Gather", values, self.constant(indices.astype(np.int64)), axis=axis)

    def summed(self, values: str, axis: int, *, keep: bool) -> str:
        """Sum over an axis."""
        return self.add("ReduceSum", values, self.constant(np.array([axis], np.int64)), keepdims=int(keep))

    def scalar(self, value: int, dtype: type[np.integer]) -> str:
        """A constant without axes."""
        return self.constant(np.array(value, dtype))

    def shifted(self, values: str, shift: int, bits: int) -> str:
        """round_half_even(values / 2**shift) of int64 values of at most 53 bits, or int32 ones of `NARROW_BITS`.

        The offset 2**30 or 2**62 makes them positive and leaves their rounding alone.
        """
        if shift == 0:
            return values
        narrow = is_narrow(bits, shift)
        signed, unsigned = (np.int32, np.uint32) if narrow else (np.int64, np.uint64)
        shift = min(shift, WIDEST_SHIFT)
        offset = 1 << (30 if narrow else 62)
        places = self.scalar(shift, unsigned)
        positive = self.add("Add", values, self.scalar(offset + (1 << (shift - 1)) - 1, signed))
        floor = self.add(
            "BitShift",
            self.cast(self.add("Add", values, self.scalar(offset, signed)), unsigned),
            places,
            direction="RIGHT",
        )
        odd = self.cast(self.add("BitwiseAnd", floor, self.scalar(1, unsigned)), signed)
        rounded = self.add("BitShift", self.cast(self.add("Add", positive, odd), unsigned), places, direction="RIGHT")
        return self.add("Sub", self.cast(rounded, signed), self.scalar(offset >> shift, signed))

    def clamped(self, values: str, low: int, high: int, dtype: type[np.integer]) -> str:
        """Values in [low, high]; bounds beyond the type do not bind."""
        info = np.iinfo(dtype)
        for bound, beyond in ((low, "Less"), (high, "Greater")):
            if info.min < bound < info.max:
                limit = self.scalar(bound, dtype)
                values = self.add("Where", self.add(beyond, values, limit), limit, values)
        return values

    def bytes_of(self, values: str, bits: int) -> list[str]:
        """The unsigned bytes of int32 or int64 values, lowest first; 128 of the highest stands for zero."""
        count = -(-bits // 8)
        shifted = self.cast(
            self.add("Add", self.cast(values, np.int64), self.scalar(1 << (8 * count - 1), np.int64)), np.uint64
        )
        parts = []
        for place in range(count):
            part = (
                self.add("BitShift", shifted, self.scalar(8 * place, np.uint64), direction="RIGHT")
                if place
                else shifted
            )
            masked = self.add("BitwiseAnd", part, self.scalar(255, np.uint64))
            parts.append(self.cast(masked, np.uint8))
        return parts


def is_narrow(bits: int, shift: int) -> bool:
    """Whether an accumulator is computed in int32."""
    return bits <= NARROW_BITS and shift <= NARROW_SHIFT


def weight_bytes(weight: np.ndarray, bits: int) -> list[np.ndarray]:
    """`Graph.bytes_of` for constants."""
    count = -(-bits // 8)
    positive = weight.astype(np.int64) + (1 << (8 * count - 1))
    return [((positive >> (8 * place)) & 255).astype(np.uint8) for place in range(count)]
