"""A mapping problem: a chain of segments, slots with capacities, links between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..artifacts import read_json
from ..errors import DataError

CAPACITY_TOLERANCE_MB = 1e-6


@dataclass(frozen=True)
class MappingInstance:
    """K segments in a chain to be put on S slots.

    Attributes:
        latency_ms: time of segment k on slot j; `inf` where it cannot run.
        memory_mb: [K], memory a segment occupies on whatever slot holds it.
        capacity_mb: [S], memory of a slot, a hard limit.
        traffic_mb: [K - 1], data passed from segment k to k + 1.
        hops: [S, S], link hops between slots, 0 on the diagonal.
        hop_ms, ms_per_mb: a transfer over h hops takes h * (hop_ms + traffic * ms_per_mb).
        power_w: [S], power of a busy slot.
        pj_per_bit: link energy per bit and hop.
    """

    name: str
    latency_ms: Float[np.ndarray, "K S"]
    # The other shapes are left to `check_instance`, whose messages name the field and the mend.
    memory_mb: Float[np.ndarray, ...]
    capacity_mb: Float[np.ndarray, ...]
    traffic_mb: Float[np.ndarray, ...]
    hops: Float[np.ndarray, ...]
    hop_ms: float
    ms_per_mb: float
    power_w: Float[np.ndarray, ...]
    pj_per_bit: float

    @property
    def num_segments(self) -> int:
        """K."""
        return self.latency_ms.shape[0]

    @property
    def num_slots(self) -> int:
        """S."""
        return self.latency_ms.shape[1]

    @property
    def send_ms_per_hop(self) -> Float[np.ndarray, " K"]:
        """Time of passing segment k's output over one hop; 0 for the last segment."""
        return np.append(self.hop_ms + self.traffic_mb * self.ms_per_mb, 0.0)


def read_instance(path: Path | str) -> MappingInstance:
    """Read and check an instance in the JSON format of the benchmark (docs/mapping.md).

    Raises:
        DataError: a field is missing, has the wrong shape, or a value that makes no sense.
    """
    fields = read_json(path)
    if not isinstance(fields, dict):
        raise DataError(f"{path}: holds a {type(fields).__name__}, not an object with lat_ms, mem_mb, cap_mb, ...")
    try:
        return instance_from_fields(fields)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def instance_from_fields(fields: dict[str, Any]) -> MappingInstance:
    """Build an instance from the benchmark's field names and check it (`power_w`, `pj_per_bit` default to 0).

    Raises:
        DataError: as `read_instance`.
    """
    latency = _array(fields, "lat_ms", 2)
    K, S = latency.shape if latency.size else (len(latency), 0)
    if K == 0 or S == 0:
        raise DataError(f"lat_ms has {K} segments and {S} slots; give at least one of each")
    instance = MappingInstance(
        name=str(fields.get("name", "")),
        latency_ms=latency,
        memory_mb=_array(fields, "mem_mb", 1),
        capacity_mb=_array(fields, "cap_mb", 1),
        traffic_mb=_array(fields, "traffic_mb", 1),
        hops=_array(fields, "hops", 2),
        hop_ms=_number(fields, "hop_ms"),
        ms_per_mb=_number(fields, "ms_per_mb"),
        power_w=_array(fields, "power_w", 1) if "power_w" in fields else np.zeros(S),
        pj_per_bit=_number(fields, "pj_per_bit") if "pj_per_bit" in fields else 0.0,
    )
    check_instance(instance)
    return instance


def _array(fields: dict[str, Any], key: str, dimensions: int) -> np.ndarray:
    if key not in fields:
        raise DataError(f"the field {key} is missing; it has {', '.join(sorted(map(str, fields)))}")
    try:
        array = np.array(fields[key], dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{key} is not an array of numbers with rows of one length ({error})") from error
    if array.size == 0 and array.ndim <= dimensions:
        return np.zeros((len(array),) + (0,) * (dimensions - 1))
    if array.ndim != dimensions:
        raise DataError(f"{key} has {array.ndim} dimensions; it must have {dimensions}")
    return np.ascontiguousarray(array)


def _number(fields: dict[str, Any], key: str) -> float:
    if key not in fields:
        raise DataError(f"the field {key} is missing; it has {', '.join(sorted(map(str, fields)))}")
    try:
        return float(fields[key])
    except (TypeError, ValueError) as error:
        raise DataError(f"{key}={fields[key]!r} is not a number") from error


def check_instance(instance: MappingInstance) -> None:
    """Check shapes and values; an infinite latency (forbidden slot) is allowed, NaN is not.

    Raises:
        DataError: names the field, the place and the mend.
    """
    K, S = instance.num_segments, instance.num_slots
    if K == 0 or S == 0:
        raise DataError(f"lat_ms has {K} segments and {S} slots; give at least one of each")
    if instance.hops.ndim != 2 or instance.hops.shape[0] != instance.hops.shape[1]:
        raise DataError(f"hops is {' x '.join(map(str, instance.hops.shape))}; it must be square, {S} x {S}")
    shapes: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {
        "mem_mb": (instance.memory_mb, (K,)),
        "cap_mb": (instance.capacity_mb, (S,)),
        "traffic_mb": (instance.traffic_mb, (K - 1,)),
        "hops": (instance.hops, (S, S)),
        "power_w": (instance.power_w, (S,)),
    }
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            found, wanted = (" x ".join(map(str, each)) for each in (array.shape, shape))
            raise DataError(f"{name} has shape {found}; lat_ms ({K} segments, {S} slots) asks for {wanted}")
    _check_values("lat_ms", instance.latency_ms, infinite=True)
    for name, (array, _) in shapes.items():
        _check_values(name, array, infinite=name == "cap_mb")
    for name in ("hop_ms", "ms_per_mb", "pj_per_bit"):
        _check_values(name, np.array(getattr(instance, name)))
    if np.diagonal(instance.hops).any():
        j = int(np.flatnonzero(np.diagonal(instance.hops))[0])
        raise DataError(f"hops[{j}][{j}]={instance.hops[j, j]:g}; a slot is 0 hops from itself")


def _check_values(name: str, values: np.ndarray, *, infinite: bool = False) -> None:
    """Refuse NaN, negative numbers and (unless allowed) infinity, naming the first place."""
    bad = np.isnan(values) | (values < 0) | (np.isinf(values) & (not infinite))
    if bad.any():
        place = tuple(int(index) for index in np.argwhere(bad)[0])
        index = "".join(f"[{i}]" for i in place)
        raise DataError(f"{name}{index}={values[place]}; it must be a number >= 0")


def infeasible_reason(instance: MappingInstance) -> str | None:
    """Why no mapping can exist, as far as one can tell without search; None if none of the tests fails."""
    runs = np.isfinite(instance.latency_ms)
    fits = instance.memory_mb[:, None] <= instance.capacity_mb[None] + CAPACITY_TOLERANCE_MB
    for k in np.flatnonzero(~(runs & fits).any(1)):
        if runs[k].any():
            largest = float(instance.capacity_mb[runs[k]].max())
            return (
                f"segment {k} needs {instance.memory_mb[k]:.6g} MB; the largest slot it can run on has {largest:.6g} MB"
            )
        return f"segment {k} has an infinite latency on every slot"
    need, have = float(instance.memory_mb.sum()), float(instance.capacity_mb.sum())
    if need > have + instance.num_slots * CAPACITY_TOLERANCE_MB:
        return f"the segments need {need:.6g} MB together; all slots have {have:.6g} MB"
    return None
