"""The placement problem: chips, nets, region and constants, read from JSON and checked.

Lengths are in mm with the region's centre at (0, 0), powers in watts, temperatures in degC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..artifacts import read_json
from ..errors import DataError

_SCALARS = {
    "gap_mm": "gap_mm",
    "t_amb": "t_amb_c",
    "t_max": "t_max_c",
    "ell_mm": "ell_mm",
    "r_self": "r_self",
    "r_mut": "r_mut",
    "lam_heat": "lam_heat",
    "wl_norm": "wl_norm",
}
_POSITIVE = ("t_max", "ell_mm", "wl_norm")
_NOT_NEGATIVE = ("gap_mm", "r_self", "r_mut", "lam_heat")


@dataclass(frozen=True)
class Region:
    """Where chips may lie: a disc of `half_x_mm` = `half_y_mm` = radius, or a rectangle with those half sides."""

    kind: Literal["circle", "rect"]
    half_x_mm: float
    half_y_mm: float

    @property
    def area_mm2(self) -> float:
        """Area of the region."""
        return (math.pi if self.kind == "circle" else 4.0) * self.half_x_mm * self.half_y_mm

    def __str__(self) -> str:
        if self.kind == "circle":
            return f"circle of radius {self.half_x_mm:g} mm ({self.area_mm2:.0f} mm2)"
        return f"rectangle {2 * self.half_x_mm:g} x {2 * self.half_y_mm:g} mm ({self.area_mm2:.0f} mm2)"


@dataclass(frozen=True)
class LayoutInstance:
    """n chips `w_mm h_mm tdp_w` [n], m two-pin nets `nets` [m, 2] with `net_weight` [m], a region and constants.

    The constants are those of the objective (`objective.py`) and of the thermal proxy (`heat.py`).
    """

    name: str
    w_mm: np.ndarray
    h_mm: np.ndarray
    tdp_w: np.ndarray
    nets: np.ndarray
    net_weight: np.ndarray
    region: Region
    gap_mm: float
    t_amb_c: float
    t_max_c: float
    ell_mm: float
    r_self: float
    r_mut: float
    lam_heat: float
    wl_norm: float

    @property
    def num_chips(self) -> int:
        """How many chips are to be placed."""
        return len(self.w_mm)

    def turned(self, rotated: np.ndarray) -> LayoutInstance:
        """The same problem with the chips of `rotated` [n] bool turned by 90 degrees."""
        return replace(
            self,
            w_mm=np.where(rotated, self.h_mm, self.w_mm),
            h_mm=np.where(rotated, self.w_mm, self.h_mm),
        )


def read_layout_instance(path: Path | str) -> LayoutInstance:
    """Read and check an instance file.

    Raises:
        DataError: the file, a field or a value cannot be used; the message names file, field, value and mend.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: must hold a JSON object with the fields w_mm, h_mm, nets, region, ...")
    return layout_instance_from(content, str(path))


def layout_instance_from(content: dict[str, Any], source: str) -> LayoutInstance:
    """Check the fields of `content` (as in an instance file); `source` names it in messages.

    Raises:
        DataError: as `read_layout_instance`.
    """
    needed = ["w_mm", "h_mm", "tdp_w", "nets", "region", *_SCALARS]
    missing = [key for key in needed if key not in content]
    if missing:
        raise DataError(f"{source}: lacks the field(s) {', '.join(missing)}; a layout instance needs all of them")
    w_mm, h_mm, tdp_w = (_numbers(content[key], f"{source}: {key}") for key in ("w_mm", "h_mm", "tdp_w"))
    if len(w_mm) == 0:
        raise DataError(f"{source}: w_mm is empty; zero chips leave nothing to place, give at least one")
    if not len(w_mm) == len(h_mm) == len(tdp_w):
        raise DataError(f"{source}: w_mm, h_mm and tdp_w have {len(w_mm)}, {len(h_mm)} and {len(tdp_w)} entries")
    for key, values, least in (("w_mm", w_mm, None), ("h_mm", h_mm, None), ("tdp_w", tdp_w, 0.0)):
        bad = np.flatnonzero(values <= 0 if least is None else values < least)
        if bad.size:
            sign = "above 0" if least is None else "0 or more"
            raise DataError(f"{source}: {key}[{bad[0]}] is {values[bad[0]]:g}; it must be {sign}")
    nets, net_weight = _nets(content["nets"], len(w_mm), source)
    return LayoutInstance(
        name=str(content.get("name", Path(source).stem)),
        w_mm=w_mm,
        h_mm=h_mm,
        tdp_w=tdp_w,
        nets=nets,
        net_weight=net_weight,
        region=_region(content["region"], source),
        **{field: _scalar(content[key], key, source) for key, field in _SCALARS.items()},
    )


def check_fits(instance: LayoutInstance, *, rotate: bool = False) -> None:
    """Refuse what no search can place: a chip larger than the region, or more area than there is.

    Two chips keep a gap, so each may be grown by half a gap on every side without overlap; the grown chips lie in
    the region grown likewise. Passing is necessary for a legal layout, not sufficient.

    Raises:
        DataError: with the sizes or areas.
    """
    region, gap = instance.region, instance.gap_mm
    for i, (w, h) in enumerate(zip(instance.w_mm, instance.h_mm, strict=True)):
        if not (fits_alone(region, w, h) or (rotate and fits_alone(region, h, w))):
            turn = "even turned" if rotate else "as given"
            raise DataError(
                f"{instance.name}: chip {i} of {w:g} x {h:g} mm ({w * h:.0f} mm2) does not fit the {region} {turn}; "
                "enlarge the region or drop the chip"
            )
    needed_mm2 = float(((instance.w_mm + gap) * (instance.h_mm + gap)).sum())
    if region.kind == "circle":
        room_mm2 = math.pi * (region.half_x_mm + gap / math.sqrt(2)) ** 2
    else:
        room_mm2 = (2 * region.half_x_mm + gap) * (2 * region.half_y_mm + gap)
    if needed_mm2 > room_mm2 * (1 + 1e-9):
        raise DataError(
            f"{instance.name}: {instance.num_chips} chips of {float((instance.w_mm * instance.h_mm).sum()):.0f} mm2 "
            f"({needed_mm2:.0f} mm2 with a gap of {gap:g} mm) cannot fit the {region}; enlarge the region, "
            "narrow the gap or drop chips"
        )


def fits_alone(region: Region, w_mm: float, h_mm: float) -> bool:
    """Whether a chip of this size lies in the region when it is the only one."""
    if region.kind == "circle":
        return bool(math.hypot(w_mm / 2, h_mm / 2) <= region.half_x_mm)
    return bool(w_mm / 2 <= region.half_x_mm and h_mm / 2 <= region.half_y_mm)


def _numbers(values: Any, where: str) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: must be a list of numbers ({error})") from error
    if array.ndim != 1:
        raise DataError(f"{where}: must be a flat list of numbers, has {array.ndim} dimensions")
    if not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(f"{where}[{first}] is {array[first]}; every value must be finite")
    return array


def _scalar(value: Any, key: str, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{source}: {key} is {value!r}; it must be a finite number")
    if key in _POSITIVE and value <= 0:
        raise DataError(f"{source}: {key} is {value:g}; it must be above 0")
    if key in _NOT_NEGATIVE and value < 0:
        raise DataError(f"{source}: {key} is {value:g}; it must be 0 or more")
    return float(value)


def _nets(rows: Any, num_chips: int, source: str) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(rows, list):
        raise DataError(f"{source}: nets must be a list of [chip, chip, weight], is {type(rows).__name__}")
    for e, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != 3:
            raise DataError(f"{source}: nets[{e}] is {row!r}; it must be [chip, chip, weight]")
        a, b, weight = _numbers(row, f"{source}: nets[{e}]")
        if a != int(a) or b != int(b) or not (0 <= a < num_chips and 0 <= b < num_chips):
            raise DataError(f"{source}: nets[{e}] joins {row[0]} and {row[1]}; chips are 0 to {num_chips - 1}")
        if a == b:
            raise DataError(f"{source}: nets[{e}] joins chip {row[0]} to itself; drop it")
        if weight < 0:
            raise DataError(f"{source}: nets[{e}] has the weight {weight:g}; traffic must be 0 or more")
    table = np.asarray(rows, dtype=float).reshape(-1, 3)
    return table[:, :2].astype(np.int64), table[:, 2]


def _region(value: Any, source: str) -> Region:
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind not in ("circle", "rect"):
        raise DataError(f"{source}: region.kind is {kind!r}; it must be 'circle' or 'rect'")
    keys = ("radius_mm",) if kind == "circle" else ("width_mm", "height_mm")
    for key in keys:
        if key not in value:
            raise DataError(f"{source}: region lacks {key}, which a {kind} needs")
        if _scalar(value[key], f"region.{key}", source) <= 0:
            raise DataError(f"{source}: region.{key} is {value[key]:g}; it must be above 0")
    if kind == "circle":
        return Region("circle", float(value["radius_mm"]), float(value["radius_mm"]))
    return Region("rect", value["width_mm"] / 2, value["height_mm"] / 2)
