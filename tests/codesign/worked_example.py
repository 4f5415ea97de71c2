"""The example of docs/version_c.md, and small workloads: what the tests of this folder share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.config.chips import ChipType
from pipeline.config.codesign import HwLossConfig
from pipeline.config.hardware import HwConfig, WorkloadConfig
from pipeline.hw_proxy.workload import KeepRatios
from pipeline.mapping.segments import Segment, chain
from pipeline.trainer.workload_segments import workload_segments

LATENCY_MS = {"a": [1.0, 2.0, 5.0], "b": [4.0, 3.0, 1.0]}
POWER_W = {"a": 110.0, "b": 55.0}
WEIGHTS_MB, HELD_MB, TRAFFIC_MB = [100.0, 200.0, 300.0], [50.0, 60.0, 70.0], [2.0, 4.0, 0.0]
LINK = {"hop_ms": 0.1, "link_gb_s": 4.0, "pj_per_bit": 1.0, "link_reach_mm": 32.0, "usable_memory_share": 1.0}
POSITIONS_MM = torch.tensor([[0.0, 0.0], [64.0, 0.0]], dtype=torch.float64)
SMALL = WorkloadConfig(img=64, frames=4, patch=16, dim=96, depth=4, heads=4, mlp_ratio=2.0, batch=4)


@dataclass
class Places:
    """Positions of slots, as a wafer layout has them."""

    pos: Tensor


class TableProxy:
    """Latency and power from the tables above; a segment's number is its `flops`."""

    def predict_segments(self, features: Sequence[Mapping[str, Any]], devices: Sequence[Any]) -> dict[str, Tensor]:
        """[K, T] each."""
        rows = [int(row["flops"]) for row in features]
        latency = [[LATENCY_MS[device["name"]][row] for device in devices] for row in rows]
        power = [[POWER_W[device["name"]] for device in devices] for _ in rows]
        return {
            "lat_ms": torch.tensor(latency, dtype=torch.float64),
            "mem_mb": torch.zeros(len(rows), len(devices), dtype=torch.float64),
            "power_w": torch.tensor(power, dtype=torch.float64),
        }


def worked_chips() -> list[ChipType]:
    """Two chips, a of 100 mm2 and b of 50 mm2."""
    return [
        ChipType("a", 1e14, 1e12, 1.0, 100.0, 10.0, 10.0, 120.0, idle_w=10.0),
        ChipType("b", 5e13, 5e11, 0.4, 50.0, 10.0, 5.0, 60.0, idle_w=5.0),
    ]


def worked_segments() -> list[Segment]:
    """Three segments."""
    return chain(
        [
            Segment(
                id=k,
                layer_indices=[k],
                flops=k,
                bytes=0.0,
                seq_len=1,
                embed_dim=1,
                num_heads=1,
                mlp_ratio=1.0,
                precision=2,
                traffic_in_bytes=0.0,
                traffic_out_bytes=1e6 * TRAFFIC_MB[k],
                weight_bytes=1e6 * WEIGHTS_MB[k],
                act_bytes=1e6 * HELD_MB[k],
            )
            for k in range(3)
        ]
    )


def loss_cfg(**changes: Any) -> HwLossConfig:
    """Latency and energy in equal parts; links as in the example."""
    values: dict[str, Any] = {
        "lambda_T": 1.0,
        "lambda_E": 1.0,
        "lambda_mem": 0.0,
        "lambda_chip": 0.0,
        "lambda_area": 2.0,
        "mapping_cfg": dict(LINK),
    }
    return HwLossConfig(**{**values, **changes})


def ratios(values: Mapping[str, Tensor]) -> KeepRatios:
    """Keep ratios in double precision; what is not given is kept whole."""
    ones = torch.ones(SMALL.depth, dtype=torch.float64)
    return KeepRatios(**{name: values.get(name, ones) for name in KeepRatios.__annotations__})


def small_segments(values: Mapping[str, Tensor] | None = None, segment_size: int = 2) -> list[Segment]:
    """A small workload under the given keep ratios."""
    return workload_segments(HwConfig(workload=SMALL, segment_size=segment_size), ratios(values or {}))
