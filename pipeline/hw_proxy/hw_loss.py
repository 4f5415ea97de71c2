"""The hardware loss on one chip (spec §12, §13.1): latency, energy and memory, as functions of live gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..config.hardware import HwConfig
from .chip_library import load_chip_library
from .layer_table import Number
from .roofline_proxy import kernels_of


@runtime_checkable
class PricedSegment(Protocol):
    """What the loss reads of a segment (`pipeline.mapping.segments.Segment`)."""

    @property
    def weight_bytes(self) -> Number: ...
    @property
    def act_bytes(self) -> Number: ...
    def features(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class SingleDeviceCosts:
    """One batch on one chip: `latency_ms` and `energy_j` per segment, and the peak memory of all of them."""

    segment_latency_ms: Float[Tensor, " K"]
    segment_energy_j: Float[Tensor, " K"]
    peak_mem_mb: Float[Tensor, ""]

    @property
    def latency_ms(self) -> Float[Tensor, ""]:
        """The sum over segments: they run one after the other."""
        return self.segment_latency_ms.sum()

    @property
    def energy_j(self) -> Float[Tensor, ""]:
        """The sum over segments."""
        return self.segment_energy_j.sum()

    def totals(self) -> dict[str, float]:
        """The three totals as plain numbers, the reference of a later loss."""
        return {
            "latency_ms": self.latency_ms.item(),
            "energy_j": self.energy_j.item(),
            "peak_mem_mb": self.peak_mem_mb.item(),
        }


def single_device_costs(segments: Sequence[PricedSegment], hw_proxy: Any, chip: Mapping[str, Any]) -> SingleDeviceCosts:
    """What all segments cost on one chip, one batched call of the proxy.

    Memory is the sum of all weights and the largest activation of any segment, as the mapper counts it.

    Args:
        hw_proxy: has `predict_segments(table, devices)` -> `lat_ms`, `power_w`, each [K, 1].
        chip: its specs (spec §8.1), e.g. `ChipType.specs()`; numbers may be tensors.
    """
    predicted = hw_proxy.predict_segments(kernels_of([segment.features() for segment in segments]), [chip])
    latency_ms, power_w = predicted["lat_ms"][:, 0], predicted["power_w"][:, 0]
    weights = torch.stack([torch.as_tensor(segment.weight_bytes, dtype=latency_ms.dtype) for segment in segments])
    held = torch.stack([torch.as_tensor(segment.act_bytes, dtype=latency_ms.dtype) for segment in segments])
    return SingleDeviceCosts(latency_ms, latency_ms * power_w / 1e3, (weights.sum() + held.max()) / 1e6)


def compute_hw_loss_single_device(
    segments: Sequence[PricedSegment],
    hw_proxy: Any,
    cfg: Any,
    *,
    chip: Mapping[str, Any] | None = None,
    reference: Mapping[str, float] | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Any]]:
    """L_hw = lambda_T·T/T0 + lambda_E·E/E0 + lambda_mem·M/M0 of one batch on one chip (spec §13.1).

    Args:
        segments: their costs may be live tensors; gradients reach whatever they were built from.
        hw_proxy: see `single_device_costs`.
        cfg: the run's configuration (its `hw`), or the section itself.
        chip: specs of the chip; default `hw.chip` from the chip library.
        reference: `latency_ms`, `energy_j`, `peak_mem_mb` at the first step (`SingleDeviceCosts.totals`); without it
            each term is divided by its own present value.

    Returns:
        the loss and its statistics: the totals, the terms, the reference and the figures per segment, as numbers.

    Raises:
        ConfigError: the chip is not in the library.
    """
    hw: HwConfig = getattr(cfg, "hw", cfg)
    specs = load_chip_library().select(hw.chip)[0].specs() if chip is None else chip
    costs = single_device_costs(segments, hw_proxy, specs)
    base = costs.totals() if reference is None else dict(reference)
    terms = {
        "term_latency": hw.lambda_T * costs.latency_ms / base["latency_ms"],
        "term_energy": hw.lambda_E * costs.energy_j / base["energy_j"],
        "term_memory": hw.lambda_mem * costs.peak_mem_mb / base["peak_mem_mb"],
    }
    loss = torch.stack(list(terms.values())).sum()
    stats: dict[str, Any] = {
        "L_hw": loss.item(),
        "chip": str(specs.get("name", hw.chip)),
        **costs.totals(),
        **{name: term.item() for name, term in terms.items()},
        "reference": base,
        "segment_latency_ms": costs.segment_latency_ms.tolist(),
        "segment_energy_j": costs.segment_energy_j.tolist(),
    }
    return loss, stats
