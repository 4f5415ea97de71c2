"""What the proxies' networks read of a layer and a device.

The spec's vector (§7.2) is the prefix of `build_layer_features`; `mode: direct` reads it alone. What follows it
describes how well a kernel of this shape fits a device: alignment, fill of tiles, waves over the compute units,
footprint against the last-level cache. None of that depends on FLOPs, bytes, peak or bandwidth, so a model that reads
it for an *efficiency* leaves the roofline's monotony in those four untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .device_table import DeviceTable, devices_from_chips
from .layer_table import KERNEL_KINDS, LAYER_TYPES, PRECISION_BYTES, LayerTable, stack
from .roofline import is_product, nominal_peak

TILES = (32, 64, 128, 256)
WAVE_TILES = ((64, 64), (128, 128), (256, 128))
ALIGNMENTS = (4, 32)
GENERATIONS = (2018.0, 2020.0)
SPEC_FEATURES = (
    *("log_flops", "log_bytes", "log_peak_flops", "log_peak_bw"),
    *(f"is_{name}" for name in LAYER_TYPES),
    *("embed_dim", "num_heads", "mlp_ratio", "seq_len", "precision"),
)


def build_layer_features(layer_cfg: Mapping[str, Any], device_cfg: Mapping[str, Any]) -> Float[Tensor, " F"]:
    """The features of one layer on one device: the spec's vector, then shape and fit (module text).

    Args:
        layer_cfg: `flops bytes layer_type embed_dim num_heads mlp_ratio seq_len precision` (spec §7.2); of a layer
            that is several kernels, shape and fit are those of the kernel with most FLOPs.
        device_cfg: an entry of the chip library (spec §8.1) or a row of a device table.

    Raises:
        DataError: an unknown layer type or precision, or a device without what is needed.
    """
    from .layer_config import layer_from_config

    table = layer_from_config(layer_cfg)
    device = devices_from_chips([device_cfg]).select([0] * len(table))
    main = int(table.flops.argmax())
    spec = spec_features(table, device)[main].clone()
    spec[0], spec[1] = (_log10(stack([layer_cfg[name]])[0]) for name in ("flops", "bytes"))
    return torch.cat([spec, shape_features(table)[main], fit_features(table, device)[main]])


def spec_features(table: LayerTable, devices: DeviceTable) -> Float[Tensor, "P F"]:
    """The spec's vector (§7.2) of each pair, in the order of `SPEC_FEATURES`."""
    types = torch.nn.functional.one_hot(table.layer_type, len(LAYER_TYPES))
    numbers = [
        _log10(table.flops),
        _log10(table.bytes_moved),
        _log10(nominal_peak(table, devices)),
        _log10(devices.peak_bw),
    ]
    descriptors = [table.embed_dim / 1024, table.num_heads / 16, table.mlp_ratio / 4, table.seq_len / 1024]
    return torch.cat(
        [
            torch.stack(numbers, 1),
            types.to(table.flops),
            torch.stack([*descriptors, table.precision.to(table.flops)], 1),
        ],
        dim=1,
    )


def shape_features(table: LayerTable) -> Float[Tensor, "R F"]:
    """Kind, size, alignment and tile fill of each kernel; no gradient flows through them.

    A gate that moves changes costs through FLOPs and bytes; how well the momentary size fits a tile is a property of
    the size that will be deployed, and its steps would only mislead.
    """
    with torch.no_grad():
        kinds = torch.nn.functional.one_hot(table.kind, len(KERNEL_KINDS)).to(table.flops)
        product = is_product(table).to(table.flops)
        other = 1.0 - product
        sizes = {name: getattr(table, name) for name in ("groups", "rows", "columns", "depth")}
        features = [product * _log2(size) / 10 for size in sizes.values()]
        features += [other * _log2(size) / 10 for size in (table.rows, table.columns)]
        features += [kinds[:, KERNEL_KINDS.index("conv2d")] * table.window / 3, table.precision.to(table.flops)]
        elementwise = kinds[:, KERNEL_KINDS.index("elementwise")]
        features += [elementwise * table.operands, other * torch.log2(table.operations + 1) / 3]
        products = (table.rows, table.columns, table.depth)
        features += [product * (size % step == 0) for step in ALIGNMENTS for size in products]
        features += [other * (table.columns % ALIGNMENTS[0] == 0)]
        features += [product * _fill(size / tile) for tile in TILES for size in (table.rows, table.columns)]
        return torch.cat([kinds, torch.stack(features, 1)], dim=1)


def fit_features(table: LayerTable, devices: DeviceTable) -> Float[Tensor, "P G"]:
    """How each kernel fills its device: waves of tiles over the compute units, footprint against the cache."""
    rows, columns, groups, depth = (_held(getattr(table, name)) for name in ("rows", "columns", "groups", "depth"))
    product = is_product(table).to(rows)
    other = 1.0 - product
    width = torch.where(table.precision == 1, float(PRECISION_BYTES[1]), float(PRECISION_BYTES[0]))
    units = devices.num_sm + 1e-2
    cache = 1e6 * devices.l2_mb + 1e3
    features = []
    for tall, wide in WAVE_TILES:
        waves = groups * torch.ceil(rows / tall) * torch.ceil(columns / wide) / units
        features += [product * torch.log2(waves + 1e-3) / 10, product * _fill(waves)]
    features += [
        other * torch.log2(rows * columns / units / 256 + 1e-6) / 10,
        other * torch.log2(rows / units + 1e-3) / 10,
    ]
    footprints = (
        torch.log2((groups * rows * (columns + depth) + 1.0) * width / cache),
        product * torch.log2((columns * depth + 1.0) * width / cache),
        product * torch.log2((depth + 1.0) * units * (TILES[2] * 4.0) / cache),
    )
    # Convolutions choose their algorithm by shape; what they lose does not follow the cache, nor the generation.
    plain = (table.kind != KERNEL_KINDS.index("conv2d")).to(rows)
    features += [plain * torch.tanh(footprint / 4) for footprint in footprints]
    # Libraries of later devices lose less on odd shapes. Nothing says by how much beyond the years measured.
    generation = (devices.year.clamp(*GENERATIONS) - GENERATIONS[0]) / 4
    features += [product * plain * generation, devices.is_amd]
    return torch.stack(features, dim=1)


def _held(values: Tensor) -> Tensor:
    return values.detach().clamp(min=0.0) + 0.0


def _fill(blocks: Tensor) -> Tensor:
    return blocks / torch.ceil(blocks).clamp(min=1.0)


def _log2(values: Tensor) -> Tensor:
    return torch.log2(values.clamp(min=1.0))


def _log10(values: Tensor) -> Tensor:
    return torch.log10(values + 1.0)
