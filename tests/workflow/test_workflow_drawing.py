"""The README's picture is what Snakemake would draw now."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.workflow_drawing import BEGIN, END, readable_mermaid, replace_drawing, without_short_cuts
from scripts.draw_workflow import RULEGRAPH


def test_drawing_is_sorted_and_free_of_self_loops() -> None:
    graph = "flowchart TB\n\tid0[all]\n\tid1[b]\n\tid2[a]\n\tid2 --> id1\n\tid1 --> id1\n\tid1 --> id0\n"
    assert readable_mermaid(graph).splitlines() == [
        "```mermaid",
        "flowchart LR",
        "    a --> b",
        "    b --> all_results[all]",
        "```",
    ]


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda edge: edge[0] < edge[1])))
def test_without_short_cuts_the_same_is_reached_by_as_few_edges_as_can_be(numbers: set[tuple[int, int]]) -> None:
    edges = {(str(a), str(b)) for a, b in numbers}
    kept = without_short_cuts(edges)
    assert kept <= edges
    assert connected(kept) == connected(edges)
    assert all(connected(kept - {edge}) != connected(edges) for edge in kept)


def connected(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    pairs = set(edges)
    while longer := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
        pairs |= longer
    return pairs


def test_replacing_keeps_everything_around_the_markers() -> None:
    assert replace_drawing(f"x{BEGIN}old{END}y", "new") == f"x{BEGIN}\nnew\n{END}y"
    with pytest.raises(ValueError, match="lacks the markers"):
        replace_drawing("no markers", "new")


@pytest.mark.slow
def test_readme_is_current() -> None:
    graph = subprocess.run(RULEGRAPH, capture_output=True, text=True, check=True).stdout
    readme = Path("README.md").read_text()
    assert replace_drawing(readme, readable_mermaid(graph)) == readme, "README.md is stale; run `make experiments`"
