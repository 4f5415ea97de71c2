"""The deployment workload: its costs are the estimator's, and live in every gate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from pipeline.config.hardware import WorkloadConfig
from pipeline.errors import DataError
from pipeline.hw_proxy.flops_estimator import flops_bytes_per_layer
from pipeline.hw_proxy.layer_table import KERNEL_KINDS
from pipeline.hw_proxy.workload import KeepRatios, keep_everything, ratios_from_shape, workload_costs
from pipeline.hw_proxy.workload_network import workload_network
from pipeline.models.video_vit import VideoViT

SMALL = WorkloadConfig(img=32, frames=4, patch=16, dim=32, depth=4, heads=4, mlp_ratio=2.0, batch=3, precision="fp32")
PRODUCTS = [KERNEL_KINDS.index(kind) for kind in ("linear", "matmul_batched", "sdpa")]
NAMES = ("tokens", "heads", "channels", "attention", "mlp")


def uniform(depth: int, **shares: float) -> KeepRatios:
    values = {name: torch.full((depth,), shares.get(name, 1.0), dtype=torch.float64) for name in NAMES}
    return KeepRatios(**values)


@pytest.mark.parametrize("attention", ["fused", "unfused"])
def test_a_dense_workload_costs_what_the_estimator_says(attention: str):
    workload = SMALL.model_copy(update={"attention": attention})
    costs = workload_costs(workload, keep_everything(), num_classes=5)
    model = VideoViT(32, 4, 5, embed_dim=32, depth=4, num_heads=4, mlp_ratio=2.0, patch_size=16)
    estimated = flops_bytes_per_layer(model, batch_size=3, precision_bytes=4)
    kernels = costs.kernels
    products = torch.isin(kernels.kind, torch.tensor(PRODUCTS))
    flops = torch.zeros(kernels.num_layers).index_add(0, kernels.layer, kernels.flops * products)
    assert [layer.kind for layer in costs.layers] == [layer.kind for layer in estimated]
    torch.testing.assert_close(flops, torch.tensor([float(layer.flops) for layer in estimated]))
    moved = [float(layer.bytes_activations) for layer in costs.layers[1:-1]]
    expected = [float(layer.bytes_activations) for layer in estimated[1:-1]]
    if attention == "fused":
        assert moved == pytest.approx(expected, rel=1e-5)
    else:
        assert sum(moved) > sum(expected)


def test_kept_shares_cost_what_a_smaller_network_costs():
    kept = workload_costs(SMALL, uniform(4, heads=0.5, channels=0.25))
    model = VideoViT(32, 4, 101, embed_dim=32, depth=4, num_heads=4, mlp_ratio=0.5, patch_size=16)
    smaller = flops_bytes_per_layer(model, batch_size=3, precision_bytes=4)
    products = torch.isin(kept.kernels.kind, torch.tensor(PRODUCTS))
    flops = torch.zeros(10, dtype=torch.float64).index_add(0, kept.kernels.layer, kept.kernels.flops * products)
    assert flops[2::2][:4].tolist() == pytest.approx([float(layer.flops) for layer in smaller[2::2]][:4])
    attention = torch.tensor([float(layer.flops) for layer in smaller[1:-1:2]], dtype=torch.float64)
    torch.testing.assert_close(flops[1:-1:2], attention / 2)


@given(blocks=st.integers(1, 9), depth=st.integers(1, 24))
def test_each_block_takes_the_trained_block_at_its_depth(blocks: int, depth: int):
    trained = torch.arange(blocks, dtype=torch.float64) / blocks
    spread = KeepRatios(trained, trained, trained, trained, trained).spread_over(depth)
    assert spread.tokens.tolist() == [trained[layer * blocks // depth].item() for layer in range(depth)]


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    block=st.integers(0, 3),
    low=st.floats(0.05, 0.9),
    step=st.floats(0.01, 0.1),
)
def test_keeping_more_never_costs_less(name: str, block: int, low: float, step: float):
    def total(share: float) -> torch.Tensor:
        ratios = uniform(4, tokens=0.6, heads=0.7, channels=0.8)
        values = getattr(ratios, name).clone()
        values[block] = share
        kernels = workload_costs(SMALL, KeepRatios(**{**vars(ratios), name: values})).kernels
        return torch.stack([(kernels.count * kernels.flops).sum(), (kernels.count * kernels.bytes_moved).sum()])

    assert (total(low + step) > total(low)).all()


def test_a_closed_branch_costs_nothing_and_holds_only_its_input():
    costs = workload_costs(SMALL, uniform(4, attention=0.0))
    attention = costs.layers[1]
    assert float(attention.flops) == 0.0
    assert float(attention.bytes_weights) == 0.0
    assert float(attention.bytes_resident) == pytest.approx(3 * 17 * 32 * 4)


def test_ratios_out_of_range_or_of_different_lengths_are_refused():
    with pytest.raises(DataError, match="heads"):
        uniform(2, heads=1.5)
    with pytest.raises(DataError, match="lack mlp"):
        ratios_from_shape({name: [1.0] for name in NAMES[:-1]})
    with pytest.raises(DataError, match="one per block"):
        ratios_from_shape({**{name: [1.0] for name in NAMES}, "heads": [1.0, 1.0]})


def test_the_network_of_a_design_runs_and_skips_what_is_closed():
    cpu = torch.device("cpu")
    dense = workload_network(SMALL, keep_everything(), cpu)()
    assert dense.shape == (3, 101)
    closed = workload_network(SMALL, uniform(4, attention=0.0, mlp=0.0), cpu)
    assert closed().shape == (3, 101)
    with FlopCounterMode(display=False) as counter:
        closed()
    assert counter.get_total_flops() == 2 * 3 * (16 * 768 * 32 + 32 * 101)
