"""Learnable chip positions on the wafer (specification, section 11).

Only hardened chips are placed: an empty slot takes no room and carries no traffic. `L_layout` is in units of the
exact objective J (`objective.py`) plus penalties for what J forbids; the statistics are the exact ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from .design import instance_of_design
from .instance import LayoutInstance, Region
from .legalize import legalize
from .objective import score
from .place import LayoutResult, place_chips
from .start import grid_centres
from .terms import boundary_mm2, heat_c, overlap_mm2, wire_length_mm

MEGABYTE = 1e6
TINY_MB = 1e-30


@runtime_checkable
class CarriesTraffic(Protocol):
    """What the layout needs of a segment: the bytes it passes on, a number or a 0-dim tensor."""

    @property
    def traffic_out_bytes(self) -> float | Tensor:
        """Bytes sent to the next segment."""


@dataclass(frozen=True)
class LayoutSettings:
    """Weights of the four terms, limits of the region and of the thermal proxy.

    `overlap: circle` is the specification's approximation; with `optimize_layout` off chips stay on the grid and the
    loss is 0. `grid_pitch_mm` is the distance of the grid's places; without it the grid fills the region.
    """

    optimize_layout: bool = True
    overlap: Literal["rect", "circle"] = "rect"
    lambda_boundary: float = 1.0
    lambda_overlap: float = 1.0
    lambda_comm: float = 1.0
    lambda_heat: float = 1.0
    gap_mm: float = 0.2
    t_amb_c: float = 40.0
    t_max_c: float = 85.0
    grid_pitch_mm: float | None = None


class WaferLayout(nn.Module):
    """Centres `pos` [num_slots, 2] in mm, (0, 0) in the middle of the region; they start on a regular grid."""

    def __init__(self, num_slots: int, region: Region, settings: LayoutSettings | None = None) -> None:
        super().__init__()
        if num_slots < 1:
            raise ConfigError(f"num_slots is {num_slots}: a layout needs at least one slot")
        self.region = region
        self.settings = settings or LayoutSettings()
        self.pos = nn.Parameter(torch.tensor(_start_grid(num_slots, region, self.settings), dtype=torch.float32))
        self.pos.requires_grad_(self.settings.optimize_layout)

    def forward(
        self,
        mapping: Sequence[int],
        segments: Sequence[CarriesTraffic],
        eff_specs: Mapping[str, Tensor],
        *,
        edges: Sequence[tuple[int, int, float | Tensor]] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, float | bool]]:
        """Layout loss and the exact statistics `wl_mm overlap_mm2 outside_mm t_peak_c legal J`.

        Args:
            mapping: slot of each segment.
            segments: in chain order; only their traffic is read.
            eff_specs: `width_mm height_mm tdp_w`, each [num_slots]; width 0 means an empty slot.
            edges: (from, to, bytes) between segments where they are not a chain.

        Raises:
            DataError: a segment on an empty slot or on none, or sizes that are not num_slots.
        """
        placed, instance, traffic_mb = self._placed(mapping, segments, eff_specs, edges)
        pos_mm = self.pos[placed]
        stats = _statistics(instance, pos_mm)
        if not self.settings.optimize_layout:
            return pos_mm.new_zeros(()), stats
        return self._loss(pos_mm, instance, traffic_mb), stats

    def place_(
        self,
        mapping: Sequence[int],
        segments: Sequence[CarriesTraffic],
        eff_specs: Mapping[str, Tensor],
        *,
        iterations: int,
        seed: int = 0,
        edges: Sequence[tuple[int, int, float | Tensor]] | None = None,
    ) -> LayoutResult:
        """Replace the positions of the placed chips by a legal layout of `place_chips`, stopping on iterations.

        Raises:
            DataError: as `forward`, or the chips cannot fit the region.
        """
        placed, instance, _ = self._placed(mapping, segments, eff_specs, edges)
        result = place_chips(instance, time_limit_s=3600.0, seed=seed, iterations=iterations)
        with torch.no_grad():
            self.pos[placed] = torch.as_tensor(result.pos_mm, dtype=self.pos.dtype, device=self.pos.device)
        return result

    def legalize_(
        self,
        mapping: Sequence[int],
        segments: Sequence[CarriesTraffic],
        eff_specs: Mapping[str, Tensor],
        *,
        edges: Sequence[tuple[int, int, float | Tensor]] | None = None,
    ) -> bool:
        """Move the placed chips to legal places nearby; False, with nothing moved, if none were found.

        Raises:
            DataError: as `forward`.
        """
        placed, instance, _ = self._placed(mapping, segments, eff_specs, edges)
        legal = legalize(instance, self.pos[placed].detach().double().cpu().numpy())
        if legal is not None:
            with torch.no_grad():
                self.pos[placed] = torch.as_tensor(legal, dtype=self.pos.dtype, device=self.pos.device)
        return legal is not None

    def _placed(
        self,
        mapping: Sequence[int],
        segments: Sequence[CarriesTraffic],
        eff_specs: Mapping[str, Tensor],
        edges: Sequence[tuple[int, int, float | Tensor]] | None,
    ) -> tuple[Tensor, LayoutInstance, Float[Tensor, " m"]]:
        """Indices of non-empty slots, their placement problem, and the live traffic of its nets in MB."""
        specs = {key: eff_specs[key].detach().double().cpu().numpy() for key in ("width_mm", "height_mm", "tdp_w")}
        if any(len(values) != len(self.pos) for values in specs.values()):
            sizes = {key: len(values) for key, values in specs.items()}
            raise DataError(f"eff_specs have the sizes {sizes}; the layout has {len(self.pos)} slots")
        full = np.flatnonzero((specs["width_mm"] > 0) & (specs["height_mm"] > 0))
        row = {int(slot): k for k, slot in enumerate(full)}
        nets, traffic_mb = _slot_nets(mapping, segments, edges, row, self.pos)
        instance = instance_of_design(
            "design",
            specs["width_mm"][full],
            specs["height_mm"][full],
            specs["tdp_w"][full],
            nets,
            traffic_mb.detach().double().cpu().numpy(),
            self.region,
            gap_mm=self.settings.gap_mm,
            t_amb_c=self.settings.t_amb_c,
            t_max_c=self.settings.t_max_c,
        )
        return torch.as_tensor(full, device=self.pos.device), instance, traffic_mb

    def _loss(
        self, pos_mm: Float[Tensor, "n 2"], instance: LayoutInstance, traffic_mb: Float[Tensor, " m"]
    ) -> Float[Tensor, ""]:
        s = self.settings
        size_mm = pos_mm.new_tensor(np.stack([instance.w_mm, instance.h_mm], 1))
        nets = torch.as_tensor(instance.nets, device=pos_mm.device)
        chip_mm2 = float((instance.w_mm * instance.h_mm).mean())
        # `wl_norm` is in proportion to the traffic: live too, or more traffic would look longer than it is.
        share = traffic_mb / traffic_mb.sum().clamp(min=TINY_MB) * traffic_mb.detach().sum()
        return (
            s.lambda_comm * wire_length_mm(pos_mm, nets, share) / instance.wl_norm
            + s.lambda_heat * heat_c(pos_mm, instance) / instance.t_max_c
            + s.lambda_overlap * overlap_mm2(pos_mm, size_mm, instance.gap_mm, s.overlap) / chip_mm2
            + s.lambda_boundary * boundary_mm2(pos_mm, size_mm, instance.region) / chip_mm2
        )


def _start_grid(num_slots: int, region: Region, settings: LayoutSettings) -> np.ndarray:
    """A grid of the given pitch, or over the largest centred square (the whole rectangle), in its cells' middle."""
    if settings.grid_pitch_mm is not None:
        return grid_centres(num_slots, settings.grid_pitch_mm, settings.grid_pitch_mm)
    columns = int(np.ceil(np.sqrt(num_slots)))
    rows = int(np.ceil(num_slots / columns))
    shrink = np.sqrt(0.5) if region.kind == "circle" else 1.0
    return grid_centres(num_slots, 2 * shrink * region.half_x_mm / columns, 2 * shrink * region.half_y_mm / rows)


def _slot_nets(
    mapping: Sequence[int],
    segments: Sequence[CarriesTraffic],
    edges: Sequence[tuple[int, int, float | Tensor]] | None,
    row: Mapping[int, int],
    like: Tensor,
) -> tuple[np.ndarray, Float[Tensor, " m"]]:
    """Nets between placed chips [m, 2] and the MB each carries; traffic within a chip makes no net."""
    if len(mapping) != len(segments):
        raise DataError(f"the mapping has {len(mapping)} entries for {len(segments)} segments")
    for k, slot in enumerate(mapping):
        if int(slot) not in row:
            raise DataError(f"segment {k} is mapped to slot {slot}, which is empty; placed slots: {sorted(row)}")
    if edges is None:
        edges = [(k, k + 1, segments[k].traffic_out_bytes) for k in range(len(segments) - 1)]
    carried: dict[tuple[int, int], Tensor] = {}
    for a, b, amount in edges:
        ends = sorted((row[int(mapping[a])], row[int(mapping[b])]))
        if ends[0] != ends[1]:
            key = (ends[0], ends[1])
            carried[key] = carried.get(key, like.new_zeros(())) + torch.as_tensor(amount).to(like) / MEGABYTE
    nets = np.array(sorted(carried), dtype=np.int64).reshape(-1, 2)
    weights = [carried[(int(a), int(b))] for a, b in nets]
    return nets, torch.stack(weights) if weights else like.new_zeros(0)


def _statistics(instance: LayoutInstance, pos_mm: Tensor) -> dict[str, float | bool]:
    exact = score(instance, pos_mm.detach().double().cpu().numpy())
    return {
        "wl_mm": exact.wl_mm,
        "overlap_mm2": exact.overlap_mm2,
        "outside_mm": exact.outside_mm,
        "t_peak_c": exact.t_peak_c,
        "legal": exact.legal,
        "J": exact.cost,
    }
