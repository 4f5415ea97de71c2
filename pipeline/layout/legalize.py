"""The nearest legal layout that is easy to find: chips pushed apart by a linear program, else by a search.

Each overlapping pair is parted along the axis where it costs less, in the order the chips already have. With those
choices fixed the smallest total displacement is a linear program (HiGHS); pairs that come to overlap by it are added
and it is solved again. A disc is replaced by an inscribed polygon, so what the program returns lies inside.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack, vstack

from .anneal import run
from .anneal_arrays import problem_of, state_of
from .instance import LayoutInstance
from .objective import outside_mm, score

_CHORDS = 24
_ROUNDS = 30
_SLACK_MM = 1e-7
_SEARCH_MOVES_PER_CHIP = 8_000


def legalize(instance: LayoutInstance, pos_mm: np.ndarray, *, seed: int = 0) -> np.ndarray | None:
    """Legal centres [n, 2] mm near `pos_mm`; legal input comes back unchanged; None if neither way finds one."""
    pos_mm = np.asarray(pos_mm, dtype=float)
    if score(instance, pos_mm).legal:
        return pos_mm.copy()
    parted = part_by_program(instance, pos_mm)
    return parted if parted is not None else part_by_search(instance, pos_mm, seed)


def part_by_program(instance: LayoutInstance, pos_mm: np.ndarray) -> np.ndarray | None:
    """Least total Manhattan displacement under pair orders fixed by `pos_mm`; None if those cannot be kept."""
    moved, pairs = pos_mm, np.zeros((0, 2), dtype=np.int64)
    for _ in range(_ROUNDS):
        more = _too_close(instance, moved)
        if len(more) == 0 and score(instance, moved).legal:
            return moved
        pairs = np.unique(np.concatenate([pairs, more]), axis=0)
        solved = _least_displacement(instance, pos_mm, pairs)
        if solved is None:
            return None
        moved = solved
    return None


def part_by_search(instance: LayoutInstance, pos_mm: np.ndarray, seed: int) -> np.ndarray | None:
    """Annealing of the overlap alone from `pos_mm`; None if overlap remains."""
    pos_mm = _pulled_inside(instance, pos_mm)
    problem = problem_of(instance)._replace(heat_weight=0.0)
    problem.weight[:] = 0.0
    best = np.zeros((4, instance.num_chips))
    side_mm = float(np.sqrt(instance.w_mm * instance.h_mm).mean())
    moves = _SEARCH_MOVES_PER_CHIP * instance.num_chips
    state = state_of(instance, pos_mm)
    run(problem, state, moves, 0.1 * side_mm, 1e-5 * side_mm, 1.0, 1.0, seed, 0.2 * side_mm, best, np.inf)
    found = best[:2].T.copy()
    return found if score(instance, found).legal else None


def _too_close(instance: LayoutInstance, pos_mm: np.ndarray) -> np.ndarray:
    """Pairs [m, 2] that lack their gap."""
    i, j = np.triu_indices(instance.num_chips, 1)
    apart = np.abs(pos_mm[i] - pos_mm[j]) - _reach(instance, i, j)
    close = apart.max(1) < -_SLACK_MM
    return np.stack([i[close], j[close]], 1)


def _reach(instance: LayoutInstance, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Centre distance at which pairs keep the gap along x and along y, [m, 2] mm."""
    size = np.stack([instance.w_mm, instance.h_mm], 1)
    return (size[i] + size[j]) / 2 + instance.gap_mm


def _least_displacement(instance: LayoutInstance, pos_mm: np.ndarray, pairs: np.ndarray) -> np.ndarray | None:
    """Variables: x, y of all chips (2n), then their absolute displacements (2n)."""
    n = instance.num_chips
    centre = pos_mm.T.ravel()
    eye = eye_array(2 * n, format="csr")
    inside, room = _region_rows(instance)
    parting, limit = _parting_rows(instance, pos_mm, pairs)
    rows = vstack(
        [
            hstack([eye, -eye]),
            hstack([-eye, -eye]),
            hstack([parting, csr_array((len(pairs), 2 * n))]),
            hstack([inside, csr_array((len(room), 2 * n))]),
        ]
    )
    cost = np.concatenate([np.zeros(2 * n), np.ones(2 * n)])
    bounds = [(None, None)] * (2 * n) + [(0, None)] * (2 * n)
    limits = np.concatenate([centre, -centre, limit, room])
    solved = linprog(cost, rows, limits, bounds=bounds, method="highs")
    return solved.x[: 2 * n].reshape(2, n).T if solved.success else None


def _parting_rows(instance: LayoutInstance, pos_mm: np.ndarray, pairs: np.ndarray) -> tuple[csr_array, np.ndarray]:
    """Rows A of 2n columns and limits b with A v <= b: every pair keeps its gap along its cheaper axis."""
    n, (i, j) = instance.num_chips, pairs.T
    reach = _reach(instance, i, j)
    apart = pos_mm[i] - pos_mm[j]
    axis = np.argmax(np.abs(apart) - reach, axis=1)
    row = np.arange(len(pairs))
    sign = np.where(apart[row, axis] > 0, 1.0, -1.0)
    entries = np.concatenate([-sign, sign])
    columns = np.concatenate([axis * n + i, axis * n + j])
    rows = csr_array((entries, (np.concatenate([row, row]), columns)), shape=(len(pairs), 2 * n))
    return rows, -reach[row, axis]


def _region_rows(instance: LayoutInstance) -> tuple[csr_array, np.ndarray]:
    """Rows A of 2n columns and limits b with A v <= b: every corner inside the region (or its inscribed polygon)."""
    n, region = instance.num_chips, instance.region
    if region.kind == "rect":
        normals, radius = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([region.half_x_mm, region.half_y_mm])
    else:
        angle = (np.arange(_CHORDS) + 0.5) * (np.pi / 2 / _CHORDS)
        normals = np.stack([np.cos(angle), np.sin(angle)], 1)
        radius = np.full(_CHORDS, region.half_x_mm * np.cos(np.pi / 4 / _CHORDS))
    eye = eye_array(n, format="csr")
    signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
    blocks = [hstack([a * sx * eye, b * sy * eye]) for a, b in normals for sx, sy in signs]
    room = [r - (a * instance.w_mm + b * instance.h_mm) / 2 for (a, b), r in zip(normals, radius, strict=True)]
    return vstack(blocks), np.repeat(np.stack(room), len(signs), axis=0).ravel()


def _pulled_inside(instance: LayoutInstance, pos_mm: np.ndarray) -> np.ndarray:
    """Each chip that sticks out moved towards the centre until it does not."""
    pulled = pos_mm.copy()
    while (outside := outside_mm(instance, pulled) > 0).any():
        pulled[outside] *= 0.97
    return pulled
