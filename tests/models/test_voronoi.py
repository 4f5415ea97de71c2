from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.voronoi import build_voronoi_regions


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 14), columns=st.integers(1, 14), wanted=st.integers(1, 40))
def test_every_region_owns_a_patch_and_every_patch_has_a_region(rows: int, columns: int, wanted: int) -> None:
    regions, count = build_voronoi_regions(rows * columns, (rows, columns), wanted)
    assert regions.shape == (rows * columns,)
    assert count <= min(wanted, rows * columns)
    assert torch.equal(regions.unique(), torch.arange(count))
    again, _ = build_voronoi_regions(rows * columns, (rows, columns), wanted)
    assert torch.equal(regions, again)


@pytest.mark.parametrize(("grid", "wanted"), [((7, 7), 8), ((14, 14), 8), ((4, 4), 8), ((7, 7), 9)])
def test_usual_grids_get_all_regions_of_similar_size(grid: tuple[int, int], wanted: int) -> None:
    regions, count = build_voronoi_regions(grid[0] * grid[1], grid, wanted)
    assert count == wanted
    sizes = regions.bincount()
    assert sizes.max() <= 4 * sizes.min()


def test_as_many_regions_as_patches_are_the_patches() -> None:
    assert torch.equal(build_voronoi_regions(9, (3, 3), 9)[0], torch.arange(9))


@pytest.mark.parametrize(("patches", "wanted", "told"), [(8, 2, "not num_patches=8"), (9, 0, "num_regions=0")])
def test_what_does_not_fit_is_named(patches: int, wanted: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build_voronoi_regions(patches, (3, 3), wanted)
