"""Random instances of any size, for the growth curve, examples and tests."""

from __future__ import annotations

import numpy as np

from .instance import MappingInstance


def random_instance(
    K: int, S: int, seed: int = 0, *, tightness: float = 0.7, noise: float = 0.35, link_gb_s: float = 256.0
) -> MappingInstance:
    """K segments, S slots of four speeds on a square grid; memory fills about `tightness` of the capacity.

    Latency is segment work x slot slowness x lognormal noise (sigma `noise`); 4-24 MB pass between segments.
    A slot may be too small for the largest segments, but never for the smallest half of them.
    """
    rng = np.random.default_rng(seed)
    memory = rng.uniform(20.0, 90.0, K)
    share = rng.choice([0.6, 0.9, 1.1, 1.4], S)
    holds = np.quantile(memory, rng.uniform(0.5, 1.0, S))  # the segment each slot can hold at least
    capacity = np.maximum(share / share.sum() * memory.sum() / tightness, 1.05 * holds)
    capacity[share.argmax()] = max(capacity[share.argmax()], 1.05 * memory.max())
    columns = int(np.ceil(np.sqrt(S)))
    rows, cols = np.divmod(np.arange(S), columns)
    hops = (np.abs(rows[:, None] - rows) + np.abs(cols[:, None] - cols)).astype(float)
    slowness = rng.choice([0.25, 0.5, 1.0, 2.0], S)
    work = rng.uniform(0.2, 1.5, K)
    return MappingInstance(
        name=f"random_K{K}_S{S}_seed{seed}",
        latency_ms=work[:, None] * slowness * rng.lognormal(0.0, noise, (K, S)),
        memory_mb=memory,
        capacity_mb=capacity,
        traffic_mb=rng.uniform(4.0, 24.0, K - 1),
        hops=hops,
        hop_ms=0.0005,
        ms_per_mb=1.0 / link_gb_s,
        power_w=rng.choice([40.0, 160.0, 350.0], S),
        pj_per_bit=1.0,
    )
