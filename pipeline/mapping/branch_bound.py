"""Depth-first search along the chain with Lagrangian suffix bounds: proofs for small instances, better bounds for more.

The search asks for a mapping better than a limit. If it ends without one, the limit itself is a lower bound, so
rising limits ("destructive" bounding, Klein and Scholl 1999) improve the bound long before the optimum is proved.
"""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
@no_type_check
def search(latency, memory, capacity, send, hops, balanced, price, weight, rest, first, limit, best, nodes_left):
    """Look for the best mapping below `limit`; return (its value or `limit`, nodes left, or -1 if they ran out).

    `rest[k, i]` is the cheapest priced completion from segment k when k - 1 sits on i (`path_dp.suffix_costs`).
    `best` is overwritten by the mapping found.
    """
    K, S = latency.shape
    offset = 0.0
    for j in range(S):
        if price[j] > 0.0:
            offset += price[j] * capacity[j]
    spent = np.zeros(K + 1)
    used, busy = np.zeros(S), np.zeros(S)
    order = np.zeros((K, S), np.int64)
    width, position = np.zeros(K, np.int64), np.zeros(K, np.int64)
    chosen = np.full(K, -1, np.int64)
    bounds = np.zeros(S)
    k, expand = 0, True
    while k >= 0:
        threshold = limit * (1.0 - 1e-9)
        if expand:
            nodes_left -= 1
            if nodes_left < 0:
                return limit, nodes_left
            count = 0
            for j in range(S):
                if first[k, j] > k or used[j] + memory[k] > capacity[j] + 1e-6:
                    continue
                arrive = 0.0
                if k > 0:
                    i = chosen[k - 1]
                    arrive = send[k - 1] * hops[i, j]
                    bound = weight[i] * arrive
                    if balanced and busy[i] + arrive >= threshold and arrive > 0.0:
                        continue
                else:
                    bound = 0.0
                if balanced and busy[j] + latency[k, j] >= threshold:
                    continue
                bound += spent[k] + weight[j] * latency[k, j] + price[j] * memory[k] + rest[k + 1, j] - offset
                if bound >= threshold:
                    continue
                bounds[j] = bound
                at = count
                while at > 0 and bounds[order[k, at - 1]] > bound:
                    order[k, at] = order[k, at - 1]
                    at -= 1
                order[k, at] = j
                count += 1
            width[k], position[k] = count, 0
        else:  # take segment k off its slot again
            j = chosen[k]
            used[j] -= memory[k]
            busy[j] -= latency[k, j]
            if k > 0:
                busy[chosen[k - 1]] -= send[k - 1] * hops[chosen[k - 1], j]
            chosen[k] = -1
        if position[k] >= width[k]:
            k -= 1
            expand = False
            continue
        j = order[k, position[k]]
        position[k] += 1
        chosen[k] = j
        used[j] += memory[k]
        busy[j] += latency[k, j]
        spent[k + 1] = spent[k] + weight[j] * latency[k, j] + price[j] * memory[k]
        if k > 0:
            i = chosen[k - 1]
            arrive = send[k - 1] * hops[i, j]
            busy[i] += arrive
            spent[k + 1] += weight[i] * arrive
        if k + 1 < K:
            k += 1
            expand = True
            continue
        total = busy.max() if balanced else busy.sum()
        if total < limit * (1.0 - 1e-9):
            limit = total
            best[:] = chosen
        expand = False
    return limit, nodes_left
