"""The picture of the workflow in the README, from Snakemake's own rule graph."""

from __future__ import annotations

import re
from functools import cache

BEGIN = "<!-- workflow: begin (make experiments) -->"
END = "<!-- workflow: end -->"
NODE = re.compile(r"^\s*(id\d+)\[(.+)\]$", re.MULTILINE)
EDGE = re.compile(r"^\s*(id\d+) --> (id\d+)$", re.MULTILINE)


def readable_mermaid(rulegraph: str) -> str:
    """Snakemake's Mermaid rule graph with rule names as node names, sorted, without colours and short cuts.

    Sorting makes the text a function of the workflow alone, so that a test can tell when the README is stale.
    """
    names = dict(NODE.findall(rulegraph))
    edges = {(names[a], names[b]) for a, b in EDGE.findall(rulegraph) if a != b}
    lines = [f"    {a} --> {b if b != 'all' else 'all_results[all]'}" for a, b in sorted(without_short_cuts(edges))]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


def without_short_cuts(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges of an acyclic graph that no longer path makes superfluous (its transitive reduction)."""
    following: dict[str, set[str]] = {}
    for a, b in edges:
        following.setdefault(a, set()).add(b)

    @cache
    def reached(node: str) -> frozenset[str]:
        direct = following.get(node, set())
        return frozenset(direct).union(*(reached(one) for one in direct))

    return {(a, b) for a, b in edges if not any(b in reached(other) for other in following[a] if other != b)}


def replace_drawing(document: str, drawing: str) -> str:
    """The document with the text between the markers replaced.

    Raises:
        ValueError: a marker is missing.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the markers {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{drawing}\n{END}{tail}"
