"""Lower bounds of L_hw for many sets of chips at once, without mapping anything.

Let w_t >= 0 be prices with sum over chips of w = 1. Whatever the mapping, the busiest chip is at least as busy as the
average weighted by w, so with a price mu on energy above rest, D,

    T + mu D  >=  sum over segments of  min over types present of  (w_t latency + mu dynamic)

(linear programming duality; for `serial`, T is the sum and w = 1). Latency and energy then lie above a line, and L_hw,
which is concave along it, is least at one of its ends. The best of several mu counts; w is improved by multiplicative
steps, and any w is valid. Sends are left out: they only add.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int

from .hard_problem import HardProblem

STEPS = 40
ENERGY_PRICES = (0.1, 0.3, 1.0, 3.0)


def value_bounds(problem: HardProblem, counts: Int[np.ndarray, "M T"]) -> Float[np.ndarray, " M"]:
    """No mapping of the segments to `counts[i, t]` chips of type t has a lower L_hw; infinite where none can fit."""
    latency = np.where(problem.holds, problem.latency_ms, np.inf)
    room = counts @ problem.usable_mb >= problem.weight_mb.sum() * (1 - 1e-9)
    bounds = np.full(len(counts), np.inf)
    for position in np.flatnonzero(room):
        present = np.flatnonzero(counts[position])
        least = (problem.weight_mb + problem.resident_mb).max()
        bounds[position] = _bound(
            np.ascontiguousarray(latency[:, present]),
            np.ascontiguousarray(problem.dynamic_j[:, present]),
            counts[position, present].astype(float),
            float(counts[position] @ problem.idle_w),
            least,
            problem.serial,
            np.array(problem.weights),
            problem.logarithmic,
            np.array(problem.reference),
        )
    return bounds


@numba.njit(cache=True)
@no_type_check
def _bound(latency, dynamic, counts, rest_w, least_mb, serial, lambdas, logarithmic, reference):
    K = latency.shape[0]
    least_d, swift = 0.0, 0.0
    for k in range(K):
        best = np.inf
        quick = np.inf
        for t in range(counts.size):
            if latency[k, t] < np.inf:
                best = min(best, dynamic[k, t])
                quick = min(quick, latency[k, t])
        if best == np.inf:
            return np.inf
        least_d += best
        swift += quick
    least_t = swift if serial else _line(latency, dynamic, counts, 0.0)
    number = counts.sum()
    bound = _value(least_t, least_d, rest_w, least_mb, number, lambdas, logarithmic, reference)
    scale = least_t / max(least_d, 1e-30)
    for price in ENERGY_PRICES:
        mu = price * scale
        line = _sum_line(latency, dynamic, mu) if serial else _line(latency, dynamic, counts, mu)
        at_t = _value(
            least_t, max(least_d, (line - least_t) / mu), rest_w, least_mb, number, lambdas, logarithmic, reference
        )
        at_d = _value(
            max(least_t, line - mu * least_d), least_d, rest_w, least_mb, number, lambdas, logarithmic, reference
        )
        bound = max(bound, min(at_t, at_d))
    return bound


@numba.njit(cache=True)
@no_type_check
def _sum_line(latency, dynamic, mu):
    total = 0.0
    for k in range(latency.shape[0]):
        best = np.inf
        for t in range(latency.shape[1]):
            best = min(best, latency[k, t] + mu * dynamic[k, t])
        total += best
    return total


@numba.njit(cache=True)
@no_type_check
def _line(latency, dynamic, counts, mu):
    """The best bound found on T + mu D of a pipeline; the prices w follow the load each chip would get."""
    K, n = latency.shape
    w, load = np.zeros(n), np.zeros(n)
    for t in range(n):
        total, seen = 0.0, 0
        for k in range(K):
            if latency[k, t] < np.inf:
                total += latency[k, t]
                seen += 1
        w[t] = seen / total if seen else 0.0
    best = 0.0
    for step in range(STEPS):
        w /= max((counts * w).sum(), 1e-300)
        load[:] = 0.0
        value = 0.0
        for k in range(K):
            least, chosen = np.inf, 0
            for t in range(n):
                if latency[k, t] < np.inf:
                    cost = w[t] * latency[k, t] + mu * dynamic[k, t]
                    if cost < least:
                        least, chosen = cost, t
            value += least
            load[chosen] += latency[k, chosen]
        best = max(best, value)
        load /= counts
        mean = max((counts * load).sum() / counts.sum(), 1e-30)
        for t in range(n):
            change = min(max(load[t] / mean - 1.0, -1.0), 1.0)
            w[t] *= math.exp(0.5 / (1.0 + 0.2 * step) * change)
    return best


@numba.njit(cache=True)
@no_type_check
def _value(latency_ms, dynamic_j, rest_w, least_mb, number, lambdas, logarithmic, reference):
    """L_hw of a latency and an energy above rest; memory is at least one segment's largest need."""
    totals = (max(latency_ms, 1e-30), max(dynamic_j + rest_w * latency_ms / 1e3, 1e-30), max(least_mb, 1e-30))
    value = lambdas[3] * number
    for place in range(3):
        if lambdas[place] > 0.0:
            share = totals[place] / reference[place]
            value += lambdas[place] * (math.log(share) if logarithmic else share)
    return value
