"""Simulated annealing over chip positions with incremental cost, compiled once by numba.

Overlap is first allowed at a price that rises as the temperature falls (chips can pass each other), then forbidden:
with `price` infinite no move may deepen or add an overlap, so a legal layout stays legal. Every compiled function is
in this one file because numba's disk cache notices changes of the file that holds the caller only. They are kept from
run-time shape checks (`no_type_check`): numba compiles the bare function.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

CONTACT_MM = 1e-9
"""Depths below this are rounding of chips that touch; far below the evaluator's tolerance of 1e-6 mm."""


EPOCH = 1000
"""Moves between two updates of temperature, price and step."""


class Problem(NamedTuple):
    """What does not change: nets in compressed rows, per-chip heat, region. Lengths in mm, heat in degC."""

    tdp_w: np.ndarray
    self_c: np.ndarray
    start: np.ndarray
    partner: np.ndarray
    weight: np.ndarray
    leaf_start: np.ndarray
    leaf: np.ndarray
    circle: bool
    half_x: float
    half_y: float
    gap: float
    ell: float
    r_mut: float
    t_max: float
    heat_weight: float
    rotate: bool


class State(NamedTuple):
    """A layout, its cached pairwise decay and temperatures, and a trial move.

    The move takes chips `chosen[:m]` to the `new_*` rows; `moved[i]` is chip i's row in it, or -1.
    """

    x: np.ndarray
    y: np.ndarray
    half_w: np.ndarray
    half_h: np.ndarray
    decay: np.ndarray
    temp_c: np.ndarray
    moved: np.ndarray
    chosen: np.ndarray
    new_x: np.ndarray
    new_y: np.ndarray
    new_half_w: np.ndarray
    new_half_h: np.ndarray
    new_decay: np.ndarray
    new_temp: np.ndarray


@njit(cache=True, inline="always")
@no_type_check
def _depth(dx, dy, reach_x, reach_y):
    """How far two chips must part (mm) along the cheaper axis; 0 if they keep their gap."""
    depth = min(reach_x - abs(dx), reach_y - abs(dy))
    return depth if depth > CONTACT_MM else 0.0


@njit(cache=True)
@no_type_check
def _inside(p, x, y, half_w, half_h):
    far_x, far_y = abs(x) + half_w, abs(y) + half_h
    if p.circle:
        return far_x * far_x + far_y * far_y <= p.half_x * p.half_x
    return far_x <= p.half_x and far_y <= p.half_y


@njit(cache=True)
@no_type_check
def _full_cost(p, s):
    """Wire part of J, heat in degC, total overlap depth, overlapping pairs; refreshes the cached heat."""
    n = s.x.size
    wire, depth, pairs = 0.0, 0.0, 0
    for i in range(n):
        s.temp_c[i] = p.self_c[i]
        for e in range(p.start[i], p.start[i + 1]):
            j = p.partner[e]
            wire += 0.5 * p.weight[e] * (abs(s.x[i] - s.x[j]) + abs(s.y[i] - s.y[j]))
    for i in range(n):
        for j in range(i + 1, n):
            dx, dy = s.x[i] - s.x[j], s.y[i] - s.y[j]
            d = _depth(dx, dy, s.half_w[i] + s.half_w[j] + p.gap, s.half_h[i] + s.half_h[j] + p.gap)
            depth += d
            pairs += d > 0.0
            g = p.r_mut * np.exp(-np.sqrt(dx * dx + dy * dy) / p.ell)
            s.decay[i, j] = g
            s.decay[j, i] = g
            s.temp_c[i] += g * p.tdp_w[j]
            s.temp_c[j] += g * p.tdp_w[i]
    heat = 0.0
    for i in range(n):
        heat += max(0.0, s.temp_c[i] - p.t_max)
    return wire, heat, depth, pairs


@njit(cache=True)
@no_type_check
def _wire_change(p, s, m):
    change = 0.0
    for a in range(m):
        i = s.chosen[a]
        for e in range(p.start[i], p.start[i + 1]):
            j = p.partner[e]
            b = s.moved[j]
            old = abs(s.x[i] - s.x[j]) + abs(s.y[i] - s.y[j])
            if b < 0:
                change += p.weight[e] * (abs(s.new_x[a] - s.x[j]) + abs(s.new_y[a] - s.y[j]) - old)
            elif b > a:
                change += p.weight[e] * (abs(s.new_x[a] - s.new_x[b]) + abs(s.new_y[a] - s.new_y[b]) - old)
    return change


@njit(cache=True)
@no_type_check
def _overlap_change(p, s, m, hard):
    """Change of total depth and of overlapping pairs; hard: gives up (1, 1) at the first pair that overlaps anew."""
    change, pairs = 0.0, 0
    for a in range(m):
        i = s.chosen[a]
        ax, ay, aw, ah = s.new_x[a], s.new_y[a], s.new_half_w[a] + p.gap, s.new_half_h[a] + p.gap
        for j in range(s.x.size):
            b = s.moved[j]
            if b >= 0:
                if b <= a:
                    continue
                new = _depth(ax - s.new_x[b], ay - s.new_y[b], aw + s.new_half_w[b], ah + s.new_half_h[b])
            else:
                new = _depth(ax - s.x[j], ay - s.y[j], aw + s.half_w[j], ah + s.half_h[j])
            if hard:
                if new > 0.0:
                    return 1.0, 1
                continue
            ow, oh = s.half_w[i] + s.half_w[j] + p.gap, s.half_h[i] + s.half_h[j] + p.gap
            old = _depth(s.x[i] - s.x[j], s.y[i] - s.y[j], ow, oh)
            change += new - old
            pairs += (new > 0.0) * 1 - (old > 0.0) * 1
    return change, pairs


@njit(cache=True)
@no_type_check
def _new_heat(p, s, m):
    """Heat after the trial move; leaves the temperatures and decays of the moved chips in the trial arrays."""
    n = s.x.size
    s.new_temp[:] = s.temp_c
    for a in range(m):
        i = s.chosen[a]
        for j in range(n):
            if j == i:
                continue
            b = s.moved[j]
            if b >= 0 and b < a:
                s.new_decay[a, j] = s.new_decay[b, i]
                continue
            dx = s.new_x[a] - (s.x[j] if b < 0 else s.new_x[b])
            dy = s.new_y[a] - (s.y[j] if b < 0 else s.new_y[b])
            g = p.r_mut * np.exp(-np.sqrt(dx * dx + dy * dy) / p.ell)
            s.new_decay[a, j] = g
            more = g - s.decay[i, j]
            s.new_temp[i] += more * p.tdp_w[j]
            s.new_temp[j] += more * p.tdp_w[i]
    heat = 0.0
    for i in range(n):
        heat += max(0.0, s.new_temp[i] - p.t_max)
    return heat


@njit(cache=True)
@no_type_check
def _commit(s, m):
    s.temp_c[:] = s.new_temp
    for a in range(m):
        i = s.chosen[a]
        s.x[i], s.y[i] = s.new_x[a], s.new_y[a]
        s.half_w[i], s.half_h[i] = s.new_half_w[a], s.new_half_h[a]
        for j in range(s.x.size):
            if j != i:
                s.decay[i, j] = s.new_decay[a, j]
                s.decay[j, i] = s.new_decay[a, j]


@njit(cache=True)
@no_type_check
def _add(s, m, i, x, y):
    """Put chip i at (x, y) in the trial move, unless it is there already; returns the number of moved chips."""
    if s.moved[i] >= 0:
        return m
    s.moved[i] = m
    s.chosen[m] = i
    s.new_x[m], s.new_y[m] = x, y
    s.new_half_w[m], s.new_half_h[m] = s.half_w[i], s.half_h[i]
    return m + 1


@njit(cache=True)
@no_type_check
def _partner_of(p, i):
    """A net partner of chip i, heavier nets likelier (the heavier of two drawn); -1 if it has none."""
    degree = p.start[i + 1] - p.start[i]
    if degree == 0:
        return -1
    e = p.start[i] + np.random.randint(degree)
    f = p.start[i] + np.random.randint(degree)
    return p.partner[e] if p.weight[e] >= p.weight[f] else p.partner[f]


@njit(cache=True)
@no_type_check
def _shift(p, s, i, step):
    dx, dy = step * (2.0 * np.random.random() - 1.0), step * (2.0 * np.random.random() - 1.0)
    axis = np.random.randint(3)
    return _add(s, 0, i, s.x[i] + (dx if axis != 1 else 0.0), s.y[i] + (dy if axis != 2 else 0.0))


@njit(cache=True)
@no_type_check
def _touch(p, s, i, q, step):
    """Put chip i in contact with chip q on a random side, sliding along it or keeping its own other coordinate."""
    sign = 1.0 if np.random.random() < 0.5 else -1.0
    reach_x, reach_y = s.half_w[i] + s.half_w[q] + p.gap, s.half_h[i] + s.half_h[q] + p.gap
    along = np.random.random()
    if np.random.random() < 0.5:
        y = s.y[i]
        if along < 0.3:
            y = s.y[q]
        elif along < 0.6:
            y = s.y[q] + reach_y * (2.0 * np.random.random() - 1.0)
        return _add(s, 0, i, s.x[q] + sign * reach_x, y)
    x = s.x[i]
    if along < 0.3:
        x = s.x[q]
    elif along < 0.6:
        x = s.x[q] + reach_x * (2.0 * np.random.random() - 1.0)
    return _add(s, 0, i, x, s.y[q] + sign * reach_y)


@njit(cache=True)
@no_type_check
def _align(s, i, q):
    """Take over one coordinate of chip q: a kink of the Manhattan wire length."""
    if np.random.random() < 0.5:
        return _add(s, 0, i, s.x[q], s.y[i])
    return _add(s, 0, i, s.x[i], s.y[q])


@njit(cache=True)
@no_type_check
def _swap(s, i, k):
    m = _add(s, 0, i, s.x[k], s.y[k])
    return _add(s, m, k, s.x[i], s.y[i])


@njit(cache=True)
@no_type_check
def _carry_leaves(p, s, m, hub, dx, dy):
    for e in range(p.leaf_start[hub], p.leaf_start[hub + 1]):
        j = p.leaf[e]
        m = _add(s, m, j, s.x[j] + dx, s.y[j] + dy)
    return m


@njit(cache=True)
@no_type_check
def _swap_clusters(p, s, i, k):
    """Exchange two chips, each taking along the chips that hang on it alone."""
    dx, dy = s.x[k] - s.x[i], s.y[k] - s.y[i]
    m = _swap(s, i, k)
    m = _carry_leaves(p, s, m, i, dx, dy)
    return _carry_leaves(p, s, m, k, -dx, -dy)


@njit(cache=True)
@no_type_check
def _shift_cluster(p, s, i, step):
    """Move a chip and its net partners (or its leaves only) together."""
    dx, dy = step * (2.0 * np.random.random() - 1.0), step * (2.0 * np.random.random() - 1.0)
    axis = np.random.randint(3)
    dx, dy = dx if axis != 1 else 0.0, dy if axis != 2 else 0.0
    m = _add(s, 0, i, s.x[i] + dx, s.y[i] + dy)
    if np.random.random() < 0.5:
        return _carry_leaves(p, s, m, i, dx, dy)
    for e in range(p.start[i], p.start[i + 1]):
        j = p.partner[e]
        if np.random.random() < 0.7:
            m = _add(s, m, j, s.x[j] + dx, s.y[j] + dy)
    return m


@njit(cache=True)
@no_type_check
def _propose(p, s, step):
    n = s.x.size
    i = np.random.randint(n)
    if n == 1:
        return _shift(p, s, i, step)
    k = np.random.randint(n - 1)
    k += k >= i
    q = _partner_of(p, i)
    kind = np.random.random()
    if kind < 0.35:
        m = _shift(p, s, i, step)
    elif kind < 0.50 and q >= 0:
        m = _touch(p, s, i, q, step)
    elif kind < 0.60:
        m = _touch(p, s, i, k, step)
    elif kind < 0.70 and q >= 0:
        m = _align(s, i, q)
    elif kind < 0.80:
        m = _swap(s, i, k)
    elif kind < 0.86:
        m = _swap_clusters(p, s, i, k)
    elif kind < 0.95:
        m = _shift_cluster(p, s, i, step)
    else:
        m = _add(s, 0, i, s.x[k] + step * (np.random.random() - 0.5), s.y[k] + step * (np.random.random() - 0.5))
    if p.rotate and np.random.random() < 0.1:
        s.new_half_w[0], s.new_half_h[0] = s.new_half_h[0], s.new_half_w[0]
    return m


@njit(cache=True)
@no_type_check
def _keep(s, best):
    best[0], best[1], best[2], best[3] = s.x, s.y, s.half_w, s.half_h


@njit(cache=True)
@no_type_check
def run(p, s, moves, hot, cold, price_first, price_last, seed, step, best, best_cost):
    """Anneal from `hot` to `cold` (units of J) with shifts of at most `step` mm, which adapts.

    `price` is J per mm of overlap depth, rising geometrically; infinite forbids new overlap. A legal layout below
    `best_cost` goes to `best`, rows x, y, half_w, half_h. Returns the new `best_cost` and `step`.
    """
    np.random.seed(seed)
    wire, heat, _, pairs = _full_cost(p, s)
    hard = np.isinf(price_first)
    if pairs == 0 and wire + p.heat_weight * heat < best_cost:
        best_cost = wire + p.heat_weight * heat
        _keep(s, best)
    temperature, price, taken = hot, price_first, 0
    cool = (cold / hot) ** (EPOCH / moves)
    dearer = 1.0 if hard else (price_last / price_first) ** (EPOCH / moves)
    for t in range(1, moves + 1):
        m = _propose(p, s, step)
        allowed = -temperature * np.log(1.0 - np.random.random())
        done, wire_change, heat, pair_change = _try_move(p, s, m, allowed, price, hard, heat)
        for a in range(m):
            s.moved[s.chosen[a]] = -1
        if done:
            taken += 1
            wire += wire_change
            pairs += pair_change
            if pairs == 0 and wire + p.heat_weight * heat < best_cost - 1e-12:
                best_cost = wire + p.heat_weight * heat
                _keep(s, best)
        if t % EPOCH == 0:
            temperature *= cool
            price *= dearer
            step = min(max(step * (1.1 if taken > 0.2 * EPOCH else 0.9), 1e-3), 0.5 * max(p.half_x, p.half_y))
            taken = 0
    return best_cost, step


@njit(cache=True)
@no_type_check
def _try_move(p, s, m, allowed, price, hard, heat):
    """Commit the trial move if its cost rises by at most `allowed`; (taken, wire change, heat, pair change)."""
    for a in range(m):
        if not _inside(p, s.new_x[a], s.new_y[a], s.new_half_w[a], s.new_half_h[a]):
            return False, 0.0, heat, 0
    wire_change = _wire_change(p, s, m)
    if hard and wire_change - p.heat_weight * heat > allowed:
        return False, 0.0, heat, 0
    depth_change, pair_change = _overlap_change(p, s, m, hard)
    if hard and pair_change > 0:
        return False, 0.0, heat, 0
    rise = wire_change + (0.0 if hard else price * depth_change)
    if rise - p.heat_weight * heat > allowed:
        return False, 0.0, heat, 0
    new_heat = _new_heat(p, s, m)
    if rise + p.heat_weight * (new_heat - heat) > allowed:
        return False, 0.0, heat, 0
    _commit(s, m)
    return True, wire_change, new_heat, pair_change
