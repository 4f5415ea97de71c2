"""Segments of the deployment workload, built from a network's live gates: where networks, costs and mapping meet."""

from __future__ import annotations

from dataclasses import fields

import torch

from ..config.hardware import HwConfig
from ..hw_proxy.layer_table import LayerTable
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
    for segment, kernels in zip(segments, _kernels_by_segment(costs.kernels, hw.segment_size), strict=True):
        segment.kernels = kernels
    return segments


def _kernels_by_segment(table: LayerTable, segment_size: int) -> list[LayerTable]:
    """One table per segment, each of a single layer; one reordering serves all, splitting is free."""
    segment = table.layer // segment_size
    order = torch.argsort(segment, stable=True)
    counts = torch.bincount(segment).tolist()
    names = [field.name for field in fields(LayerTable) if field.name not in ("num_layers", "layer")]
    parts = {name: getattr(table, name)[order].split(counts) for name in names}
    return [
        LayerTable(
            num_layers=1,
            layer=torch.zeros(count, dtype=torch.long),
            **{name: parts[name][position] for name in names},
        )
        for position, count in enumerate(counts)
    ]
