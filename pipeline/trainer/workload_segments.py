"""Segments of the deployment workload, built from a network's live gates: where networks, costs and mapping meet."""

from __future__ import annotations

from ..config.hardware import HwConfig
from ..hw_proxy.workload import BYTES, KeepRatios, workload_costs
from ..mapping.segments import Segment, build_segments_from_model


def workload_segments(hw: HwConfig, keep: KeepRatios) -> list[Segment]:
    """The workload's layers in groups of `hw.segment_size`, with their kernels, differentiable in the keep ratios."""
    costs = workload_costs(hw.workload, keep)
    sizes = {
        "segment_size": hw.segment_size,
        "batch_size": hw.workload.batch,
        "precision_bytes": BYTES[hw.workload.precision],
    }
    segments = build_segments_from_model(None, sizes, layer_costs=costs.layers)
    by_segment = costs.kernels.with_layers(costs.kernels.layer // hw.segment_size, len(segments)).one_by_one()
    for segment, kernels in zip(segments, by_segment, strict=True):
        segment.kernels = kernels
    return segments
