"""One type of chip (spec §8.1): what every floor above may know about it, checked where it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import ConfigError

AREA_TOLERANCE = 0.02
MAX_POWER_DENSITY_W_MM2 = 1.5
IDLE_SHARE = 0.15
TEXTS = ("name", "device", "vendor", "source", "derived")


@dataclass(frozen=True)
class ChipType:
    """A chip one may put into a slot; the first eight fields are the spec's.

    Attributes:
        name: how configurations call it.
        peak_flops: dense FLOP/s in 16-bit arithmetic.
        peak_bw: memory bandwidth, bytes/s.
        mem_gb: memory, 10^9 bytes.
        area_mm2: area of the compute die; must be width_mm x height_mm within 2 %.
        tdp_w: power limit.
        idle_w: power at rest; 15 % of the TDP unless given (an assumption).
        peak_flops_fp32: dense FLOP/s in 32-bit arithmetic, None where unknown.
        peak_flops_fp32_vector: the same outside matrix units, None where unknown.
        num_sm, boost_mhz, l2_mb: multiprocessors, clock and last-level cache, None where unknown.
        device: the name of this chip in measured tables; vendor: who makes it.
        source: where the figures come from.
        derived: whether a figure was worked out from others rather than published.

    Raises:
        ConfigError: a figure that is not positive, sides that do not make the area, or a power no package can carry.
    """

    name: str
    peak_flops: float
    peak_bw: float
    mem_gb: float
    area_mm2: float
    width_mm: float
    height_mm: float
    tdp_w: float
    idle_w: float | None = None
    peak_flops_fp32: float | None = None
    peak_flops_fp32_vector: float | None = None
    num_sm: float | None = None
    boost_mhz: float | None = None
    l2_mb: float | None = None
    device: str = ""
    vendor: str = ""
    source: str = ""
    derived: bool = False

    def __post_init__(self) -> None:
        if self.idle_w is None:
            object.__setattr__(self, "idle_w", IDLE_SHARE * self.tdp_w)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in TEXTS or value is None:
                continue
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"chip {self.name}: {field.name}={value:g}; it must be a positive number")
        self._check_plausible()

    def specs(self) -> dict[str, float | str]:
        """The figures that are known, as a proxy reads them."""
        known = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in ("source", "derived")
        }
        return {name: value for name, value in known.items() if value not in (None, "")}

    def _check_plausible(self) -> None:
        product = self.width_mm * self.height_mm
        if abs(product / self.area_mm2 - 1.0) > AREA_TOLERANCE:
            raise ConfigError(
                f"chip {self.name}: area_mm2={self.area_mm2:g}, but width_mm x height_mm = {self.width_mm:g} x "
                f"{self.height_mm:g} = {product:.4g}; make them agree within {AREA_TOLERANCE:.0%}"
            )
        density = self.tdp_w / self.area_mm2
        if density > MAX_POWER_DENSITY_W_MM2:
            raise ConfigError(
                f"chip {self.name}: tdp_w={self.tdp_w:g} on area_mm2={self.area_mm2:g} is {density:.2g} W/mm2, above "
                f"the {MAX_POWER_DENSITY_W_MM2:g} W/mm2 that can be cooled; check both"
            )
        if self.idle_w is not None and self.idle_w >= self.tdp_w:
            raise ConfigError(f"chip {self.name}: idle_w={self.idle_w:g} is not below tdp_w={self.tdp_w:g}")
