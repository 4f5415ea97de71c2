"""The compiled entropies equal PyTorch's operators, whatever is kept and however the features lie in memory."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.fused_entropy import fused_window_entropies
from pipeline.models.token_scores import cell_averages
from pipeline.models.voronoi import build_voronoi_regions
from pipeline.models.window_entropy import WindowEntropies, time_windows, window_entropies


def assert_equal(one: WindowEntropies, other: WindowEntropies, bound: float = 1e-5) -> None:
    for name, first, second in zip(one._fields, one, other, strict=True):
        assert (first is None) == (second is None)
        if first is not None:
            torch.testing.assert_close(first, second, atol=bound, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


def averages(frames: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows of two levels, and cells and regions of a grid."""
    regions, _ = build_voronoi_regions(side * side, (side, side), min(3, side))
    windows = torch.cat([time_windows(frames, level, 0.5) for level in {1, min(2, frames)}])
    return windows, cell_averages((side, side), sorted({1, min(2, side)}), regions)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 6),
    side=st.integers(1, 4),
    sound=st.integers(0, 2),
    width=st.integers(2, 70),
    kept_share=st.sampled_from([None, 0.0, 0.1, 0.6, 1.0]),
    tau=st.sampled_from([0.01, 0.5, 1.0, 4.0]),
    scale=st.sampled_from([1e-6, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_the_kernel_equals_the_operators(
    batch: int,
    frames: int,
    side: int,
    sound: int,
    width: int,
    kept_share: float | None,
    tau: float,
    scale: float,
    seed: int,
) -> None:
    source = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(batch, frames, side * side + sound, width, generator=source)
    kept = None if kept_share is None else torch.rand(x.shape[:3], generator=source) < kept_share
    windows, cells = averages(frames, side)
    expected = window_entropies(x, windows, cells, kept, tau)
    # A low temperature multiplies what rounding loses.
    assert_equal(fused_window_entropies(x, windows, cells, kept, tau), expected, 1e-5 * max(1.0, 0.1 / tau))


def test_a_common_offset_loses_no_digits() -> None:
    """Against float64: what float32 keeps of the features, the kernel keeps."""
    x = torch.randn(2, 3, 4, 24) + 1e4
    exact = torch.nn.functional.layer_norm(x.double(), (24,)).softmax(-1)
    windows, cells = averages(3, 2)
    local = -(exact * exact.log()).sum(-1).float()
    torch.testing.assert_close(fused_window_entropies(x, windows, cells, None, 1.0).local, local, atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", ["with a class token", "every other channel", "of a wider grid", "double precision"])
def test_features_may_be_views(form: str) -> None:
    views = {
        "with a class token": torch.randn(2, 1 + 5 * 4, 16)[:, 1:].unflatten(1, (5, 4)),
        "every other channel": torch.randn(2, 5, 4, 32)[..., ::2],
        "of a wider grid": torch.randn(2, 5, 9, 16)[:, :, :4],
        "double precision": torch.randn(2, 5, 4, 16, dtype=torch.float64),
    }
    windows, cells = averages(5, 2)
    expected = window_entropies(views[form], windows, cells, None, 1.0)
    assert_equal(fused_window_entropies(views[form], windows, cells, None, 1.0), expected)


def test_threads_share_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(7, 5, 4, 16)
    kept = torch.rand(7, 5, 4) > 0.3
    windows, cells = averages(5, 2)
    alone = fused_window_entropies(x, windows, cells, kept, 1.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert_equal(fused_window_entropies(x, windows, cells, kept, 1.0), alone, 0.0)


def test_known_distributions() -> None:
    """Two channels apart at a low temperature are certain; a flat token is as uncertain as can be."""
    x = torch.zeros(1, 2, 1, 8)
    x[0, 0, 0, 3] = 1.0
    found = fused_window_entropies(x, time_windows(2, 1, 0.0), torch.ones(1, 1), None, 0.01)
    torch.testing.assert_close(found.local.flatten(), torch.tensor([0.0, math.log(8)]), atol=1e-5, rtol=0)
    mean = torch.full((8,), 1 / 16)
    mean[3] += 0.5
    torch.testing.assert_close(found.time.flatten(), -(mean * mean.log()).sum()[None], atol=1e-5, rtol=0)


def test_what_is_not_a_number_stays_so_in_its_sample() -> None:
    x = torch.randn(2, 2, 1, 8)
    x[0, 0, 0, 3] = torch.nan
    kept = torch.tensor([[[True], [True]], [[False], [True]]])
    found = fused_window_entropies(x, time_windows(2, 1, 0.0), torch.ones(1, 1), kept, 1.0)
    assert found.time[0].isnan().all()
    assert not found.time[1].isnan().any()
