"""Window entropies equal loops over windows, know motion from stillness, and skip tokens that are gone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.window_entropy import (
    compute_multi_level_space_entropy,
    compute_multi_level_time_entropy,
    entropy_,
    softmax_and_entropy,
    space_cells,
    time_windows,
    window_entropies,
)

EPS = 1e-12


def plain_entropy(p: torch.Tensor) -> torch.Tensor:
    return -(p * (p + EPS).log()).sum(-1)


def literal_time_entropy(x: torch.Tensor, level: int, tau: float, overlap: float) -> torch.Tensor:
    """The spec's §6.2 loop over windows, with full windows only and a last one that ends at T."""
    p, frames = (x / tau).softmax(-1), x.shape[1]
    size = math.ceil(frames / level)
    stride = size if overlap <= 0 else max(1, int(size * (1 - overlap)))
    starts = list(range(0, frames - size + 1, stride))
    starts += [frames - size] if starts[-1] != frames - size else []
    return torch.stack([plain_entropy(p[:, s : s + size].mean(1)) for s in starts], -1).mean(-1)


def literal_space_entropy(x: torch.Tensor, level: int, tau: float, grid: tuple[int, int]) -> torch.Tensor:
    p = (x / tau).softmax(-1).unflatten(2, grid)
    rows, columns = (math.ceil(side / level) for side in grid)
    cells = [
        plain_entropy(p[:, :, r : r + rows, c : c + columns].mean((2, 3)))
        for r in range(0, grid[0], rows)
        for c in range(0, grid[1], columns)
    ]
    return torch.stack(cells, -1).mean(-1)


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 9),
    level=st.integers(1, 9),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.9]),
    tau=st.sampled_from([0.5, 1.0, 2.0]),
    seed=st.integers(0, 99),
)
def test_time_entropy_equals_the_loop_over_windows(
    frames: int, level: int, overlap: float, tau: float, seed: int
) -> None:
    level = min(level, frames)
    x = torch.randn(2, frames, 3, 8, generator=torch.Generator().manual_seed(seed))
    found = compute_multi_level_time_entropy(x, [level], tau, EPS, overlap)
    torch.testing.assert_close(
        found["H_time_level"][level], literal_time_entropy(x, level, tau, overlap), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(found["H_time_global"], literal_time_entropy(x, 1, tau, 0.0), atol=1e-4, rtol=0)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 7), columns=st.integers(1, 7), level=st.integers(1, 7), seed=st.integers(0, 99))
def test_space_entropy_equals_the_loop_over_cells(rows: int, columns: int, level: int, seed: int) -> None:
    level = min(level, max(rows, columns))
    x = torch.randn(2, 2, rows * columns, 8, generator=torch.Generator().manual_seed(seed))
    found = compute_multi_level_space_entropy(x, [level], 1.0, EPS, (rows, columns))
    expected = literal_space_entropy(x, level, 1.0, (rows, columns))
    torch.testing.assert_close(found["H_space_level"][level], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        found["H_space_global"], literal_space_entropy(x, 1, 1.0, (rows, columns)), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(
    ("frames", "level", "overlap"), [(8, 1, 0.5), (8, 4, 0.5), (7, 2, 0.5), (5, 3, 0.0), (1, 1, 0.9)]
)
def test_windows_are_full_and_cover_every_frame(frames: int, level: int, overlap: float) -> None:
    windows = time_windows(frames, level, overlap)
    size = math.ceil(frames / level)
    assert ((windows > 0).sum(dim=1) == size).all()
    torch.testing.assert_close(windows.sum(dim=1), torch.ones(len(windows)))
    assert (windows.sum(dim=0) > 0).all()
    assert windows[-1, -1] > 0


@pytest.mark.parametrize(("grid", "level", "cells"), [((7, 7), 1, 1), ((7, 7), 2, 4), ((7, 7), 4, 16), ((3, 5), 2, 4)])
def test_every_patch_is_in_one_cell(grid: tuple[int, int], level: int, cells: int) -> None:
    matrix = space_cells(grid, level)
    assert len(matrix) == cells
    assert ((matrix > 0).sum(dim=0) == 1).all()


def test_entropies_of_known_distributions() -> None:
    assert entropy_(torch.full((1, 8), 1 / 8)).item() == pytest.approx(math.log(8), abs=1e-6)
    assert entropy_(torch.eye(8)[:1].clone()).item() == pytest.approx(0.0, abs=1e-6)
    p, local = softmax_and_entropy(torch.tensor([[0.0, 0.0, 0.0, 0.0], [200.0, 0.0, 0.0, 0.0]]))
    torch.testing.assert_close(local, torch.tensor([math.log(4), 0.0]), atol=1e-5, rtol=0)
    assert torch.isfinite(p).all()


def test_time_entropy_ignores_the_order_of_frames_globally() -> None:
    x = torch.randn(2, 6, 4, 8)
    order = torch.randperm(6)
    one, other = (
        compute_multi_level_time_entropy(part, [1], 1.0, EPS, 0.5)["H_time_global"] for part in (x, x[:, order])
    )
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_windows_average_over_what_is_left() -> None:
    x = torch.randn(1, 4, 2, 5)
    p = torch.nn.functional.layer_norm(x, (5,)).softmax(-1)
    kept = torch.tensor([[True, False], [False, False], [True, False], [True, False]])[None]
    found = window_entropies(x, time_windows(4, 2, 0.0), space_cells((1, 2), 1), kept, 1.0)
    torch.testing.assert_close(found.time_share, torch.tensor([[[0.5, 0.0], [1.0, 0.0]]]))
    torch.testing.assert_close(found.time[0, 0, 0], plain_entropy(p[0, 0, 0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.time[0, 1, 0], plain_entropy(p[0, 2:, 0].mean(0)), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.time_local[0, 1, 0], plain_entropy(p[0, 2:, 0]).mean(), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.space[0, 0, 0], plain_entropy(p[0, 0, 0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("levels", [[], [2, 1], [1, 1], [0], [1, 9]])
def test_impossible_levels_are_named(levels: list[int]) -> None:
    x = torch.randn(1, 4, 4, 3)
    with pytest.raises(ValueError, match="time window levels"):
        compute_multi_level_time_entropy(x, levels, 1.0, EPS, 0.5)
    with pytest.raises(ValueError, match="space window levels"):
        compute_multi_level_space_entropy(x, levels, 1.0, EPS, (2, 2))


def test_a_grid_of_another_size_is_named() -> None:
    with pytest.raises(ValueError, match="2x3 does not hold N=4"):
        compute_multi_level_space_entropy(torch.randn(1, 2, 4, 3), [1], 1.0, EPS, (2, 3))
