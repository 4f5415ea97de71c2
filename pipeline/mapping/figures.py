"""Pictures of a mapping as inline SVG: the Gantt chart of a pipeline period, incumbent and bound over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Int

from .instance import MappingInstance
from .objective import slot_table
from .solution import Solution

INK, MUTED, LINE = "#1b1f24", "#57606a", "#d3d9e0"
COMPUTE, SEND, BOTTLENECK = "#0b5cad", "#e39a5c", "#a40e26"
STYLE = "font-family:system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;max-width:100%"


def _svg(width: float, height: float, title: str, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" style="{STYLE}"><title>{escape(title)}</title>'
        '<rect width="100%" height="100%" fill="#ffffff"/>' + "".join(parts) + "</svg>\n"
    )


def _text(x: float | int, y: float | int, text: str, anchor: str = "start", colour: str = INK, size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = LINE, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'


def round_ticks(top: float, most: int = 6) -> list[float]:
    """At most `most` steps of 1, 2 or 5 times a power of ten from 0 to `top`."""
    if top <= 0.0:
        return [0.0]
    raw = top / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * power for unit in (1.0, 2.0, 5.0, 10.0) if unit * power >= raw * (1 - 1e-9))
    return [n * step for n in range(int(top / step * (1 + 1e-9)) + 1)]


def gantt_svg(
    instance: MappingInstance,
    mapping: Int[np.ndarray, " K"],
    width: float = 900.0,
    *,
    slot_names: Sequence[str] | None = None,
) -> str:
    """One period of the pipeline: per used slot its segments (numbered), each followed by its send, then idle time."""
    table = slot_table(instance, mapping)
    period_ms = float(table.busy_ms.max())
    slots = [int(j) for j in np.unique(mapping)]
    left, right, top, row = 76.0 if slot_names is None else 112.0, 128.0, 56.0, 22.0
    bottom = top + row * len(slots)
    scale = (width - left - right) / max(period_ms, 1e-12)
    parts = [_text(left, 20, f"Pipeline period {period_ms:.4g} ms: what each slot does", size=15)]
    for n, (name, colour) in enumerate((("compute", COMPUTE), ("send", SEND), ("busiest slot", BOTTLENECK))):
        parts.append(f'<rect x="{left + 110 * n:.0f}" y="30" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(left + 110 * n + 17, 41, name))
    for tick in round_ticks(period_ms):
        x = left + tick * scale
        parts += [_line(x, top - 4, x, bottom + 4), _text(x, bottom + 19, f"{tick:.4g}", "middle", MUTED)]
    parts.append(_text(left + period_ms * scale / 2, bottom + 36, "ms within the period", "middle", MUTED))
    parts.append(_text(width - right + 8, top - 8, "idle, memory", colour=MUTED))
    for position, j in enumerate(slots):
        y = top + row * position
        busiest = bool(table.busy_ms[j] >= period_ms * (1 - 1e-9))
        name = f"slot {j}" if slot_names is None else slot_names[j]
        parts.append(_text(left - 8, y + 15, name, "end", BOTTLENECK if busiest else INK))
        parts += _slot_bars(instance, mapping, j, left, y, row, scale, busiest)
        full = 100.0 * table.memory_mb[j] / instance.capacity_mb[j] if instance.capacity_mb[j] > 0 else 0.0
        idle = 100.0 * table.idle_ms[j] / period_ms if period_ms > 0 else 0.0
        parts.append(_text(width - right + 8, y + 15, f"{idle:.0f} %, {full:.0f} %", colour=MUTED))
    title = f"Gantt chart of one period, {len(slots)} slots used, {period_ms:.4g} ms"
    return _svg(width, bottom + 48, title, parts)


def _slot_bars(
    instance: MappingInstance,
    mapping: np.ndarray,
    j: int,
    left: float,
    y: float,
    row: float,
    scale: float,
    busiest: bool,
) -> list[str]:
    parts, at_ms = [], 0.0
    send = instance.send_ms_per_hop
    for k in np.flatnonzero(mapping == j):
        compute_ms = float(instance.latency_ms[k, j])
        send_ms = float(send[k] * instance.hops[j, mapping[k + 1]]) if k + 1 < len(mapping) else 0.0
        for duration_ms, colour, label in ((compute_ms, BOTTLENECK if busiest else COMPUTE, k), (send_ms, SEND, None)):
            x, wide = left + at_ms * scale, duration_ms * scale
            what = f"segment {k}: {'compute' if label is not None else 'send'} {duration_ms:.4g} ms"
            if wide > 0.0:
                parts.append(
                    f'<rect x="{x:.2f}" y="{y + 2:.1f}" width="{wide:.2f}" height="{row - 4:.1f}" fill="{colour}" '
                    f'stroke="#ffffff" stroke-width="0.8"><title>{what}</title></rect>'
                )
            if label is not None and wide > 8.0 * len(str(label)):
                parts.append(_text(x + wide / 2, y + 15, str(label), "middle", "#ffffff", 11))
            at_ms += duration_ms
    return parts


def incumbent_svg(solution: Solution, width: float = 720.0, height: float = 340.0) -> str:
    """Best value and lower bound over solver seconds, as steps; the distance between them is what is not proved."""
    left, right, top, bottom = 70.0, 20.0, 48.0, height - 52.0
    end_s = max(solution.seconds, 1e-3)
    values = [value for _, value in solution.incumbent] + [value for _, value in solution.bound[-1:]]
    title = f"{solution.objective}: value {solution.value_ms:.5g} ms, bound {solution.lower_bound_ms:.5g} ms"
    parts = [_text(left, 20, title, size=15)]
    if not values:
        return _svg(width, height, title, [*parts, _text(left, top + 20, "no mapping found", colour=MUTED)])
    low, high = solution.lower_bound_ms, min(max(values), 1.5 * solution.value_ms)
    margin = 0.08 * (high - low) or 0.02 * high
    low, high = low - 2 * margin, high + margin

    def place(seconds: float, value: float) -> tuple[float, float]:
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return left + min(seconds / end_s, 1.0) * (width - left - right), bottom - share * (bottom - top)

    for n in range(5):
        value = low + (high - low) * n / 4
        y = place(0.0, value)[1]
        parts += [_line(left, y, width - right, y), _text(left - 6, y + 4, f"{value:.4g}", "end", MUTED)]
    for tick in round_ticks(end_s):
        x = place(tick, low)[0]
        parts += [_line(x, bottom, x, bottom + 4, MUTED), _text(x, bottom + 18, f"{tick:.3g}", "middle", MUTED)]
    parts.append(_text((left + width - right) / 2, bottom + 38, "solver seconds", "middle", MUTED))
    parts.append(_text(left, 38, "ms; best mapping", colour=COMPUTE))
    parts.append(_text(left + 120, 38, "proved lower bound", colour=BOTTLENECK))
    for points, colour in ((solution.incumbent, COMPUTE), (solution.bound, BOTTLENECK)):
        parts.append(_steps([place(*point) for point in points], place(end_s, low)[0], colour))
    return _svg(width, height, title, parts)


def _steps(points: list[tuple[float, float]], end_x: float, colour: str) -> str:
    if not points:
        return ""
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for x, y in points[1:]:
        path += f"H{x:.1f}V{y:.1f}"
    return f'<path d="{path}H{end_x:.1f}" fill="none" stroke="{colour}" stroke-width="2"/>'
