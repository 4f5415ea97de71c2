"""The wafer map as SVG: chips to scale and coloured by temperature, nets as wide as their traffic."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from .heat import temperatures_c
from .instance import LayoutInstance
from .objective import score

_WIDTH_PX = 640.0
_LEGEND_PX = 92.0
_MARGIN = 0.02
_COOL, _HOT = (222, 235, 247), (203, 60, 40)
_NET_WIDTH_PX = (0.6, 6.0)
_STYLE = "font-family:system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"


def wafer_map_svg(
    instance: LayoutInstance, pos_mm: np.ndarray, *, standalone: bool = False, names: Sequence[str] | None = None
) -> str:
    """Draw centres `pos_mm` [n, 2]; `standalone` adds a white ground for a file opened on its own.

    Colour runs from ambient to the limit (or the peak, if hotter) by the thermal proxy; a chip above the limit has a
    thick red edge. Hovering a chip names its size, power and temperature. Chips are numbered unless `names` are given.
    """
    region = instance.region
    temperature = temperatures_c(instance, pos_mm)
    hottest = max(instance.t_max_c, float(temperature.max()))
    scale = _WIDTH_PX / (2 * region.half_x_mm * (1 + _MARGIN))
    height = 2 * region.half_y_mm * (1 + _MARGIN) * scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH_PX:.0f} {height + _LEGEND_PX:.0f}" '
        f'role="img" style="{_STYLE};max-width:100%">',
        f"<title>{escape(_summary(instance, pos_mm))}</title>",
    ]
    if standalone:
        parts.append('<rect width="100%" height="100%" fill="#ffffff"/>')
    parts.append(f'<g transform="translate({_WIDTH_PX / 2:.2f} {height / 2:.2f}) scale({scale:.5f} {-scale:.5f})">')
    parts.append(_outline(instance, scale))
    parts += [_chip(instance, pos_mm, i, temperature, hottest, scale) for i in range(instance.num_chips)]
    parts += _nets(instance, pos_mm, scale)
    parts.append("</g>")
    told = [str(i) for i in range(instance.num_chips)] if names is None else names
    parts += [_label(instance, pos_mm, i, scale, height, escape(name)) for i, name in enumerate(told)]
    parts += _legend(instance, pos_mm, hottest, scale, height)
    return "".join(parts) + "</svg>\n"


def _summary(instance: LayoutInstance, pos_mm: np.ndarray) -> str:
    placed = score(instance, pos_mm)
    legality = "legal" if placed.legal else f"ILLEGAL: {placed.overlapping_pairs} pairs, {placed.chips_outside} outside"
    return f"{instance.name}: {instance.num_chips} chips, {legality}, J {placed.raw_cost:.4f}"


def _outline(instance: LayoutInstance, scale: float) -> str:
    region = instance.region
    paint = f'fill="#f6f8fa" stroke="#57606a" stroke-width="{1.5 / scale:.4f}"'
    if region.kind == "circle":
        return f'<circle r="{region.half_x_mm:.4f}" {paint}/>'
    x, y = region.half_x_mm, region.half_y_mm
    return f'<rect x="{-x:.4f}" y="{-y:.4f}" width="{2 * x:.4f}" height="{2 * y:.4f}" {paint}/>'


def _colour(share: float) -> str:
    share = min(max(share, 0.0), 1.0)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_COOL, _HOT, strict=True))


def _chip(
    instance: LayoutInstance, pos_mm: np.ndarray, i: int, temperature: np.ndarray, hottest: float, scale: float
) -> str:
    w, h = instance.w_mm[i], instance.h_mm[i]
    share = (temperature[i] - instance.t_amb_c) / max(hottest - instance.t_amb_c, 1e-9)
    edge, width = ("#a40e26", 3.0) if temperature[i] > instance.t_max_c else ("#1b1f24", 0.8)
    told = f"chip {i}: {w:g} x {h:g} mm, {instance.tdp_w[i]:g} W, {temperature[i]:.1f} degC"
    return (
        f'<rect x="{pos_mm[i, 0] - w / 2:.4f}" y="{pos_mm[i, 1] - h / 2:.4f}" width="{w:.4f}" height="{h:.4f}" '
        f'fill="{_colour(share)}" stroke="{edge}" stroke-width="{width / scale:.4f}"><title>{told}</title></rect>'
    )


def _nets(instance: LayoutInstance, pos_mm: np.ndarray, scale: float) -> list[str]:
    heaviest = max(float(instance.net_weight.max(initial=0.0)), 1e-30)
    thin, thick = _NET_WIDTH_PX
    lines = []
    for (a, b), weight in zip(instance.nets, instance.net_weight, strict=True):
        width = (thin + (thick - thin) * weight / heaviest) / scale
        lines.append(
            f'<line x1="{pos_mm[a, 0]:.4f}" y1="{pos_mm[a, 1]:.4f}" x2="{pos_mm[b, 0]:.4f}" y2="{pos_mm[b, 1]:.4f}" '
            f'stroke="#0b3d91" stroke-opacity="0.5" stroke-linecap="round" stroke-width="{width:.4f}">'
            f"<title>net {a} - {b}: traffic {weight:g}</title></line>"
        )
    return lines


def _label(instance: LayoutInstance, pos_mm: np.ndarray, i: int, scale: float, height: float, name: str) -> str:
    size = min(13.0, 0.45 * scale * min(instance.w_mm[i], instance.h_mm[i]))
    x, y = _WIDTH_PX / 2 + pos_mm[i, 0] * scale, height / 2 - pos_mm[i, 1] * scale
    return (
        f'<text x="{x:.2f}" y="{y + 0.35 * size:.2f}" font-size="{size:.1f}" text-anchor="middle" fill="#1b1f24" '
        f'stroke="#ffffff" stroke-width="2.5" paint-order="stroke" pointer-events="none">{name}</text>'
    )


def _legend(instance: LayoutInstance, pos_mm: np.ndarray, hottest: float, scale: float, height: float) -> list[str]:
    top = height + 16
    parts = [
        f'<text x="12" y="{top + 4:.1f}" font-size="13" fill="#1b1f24">{escape(_summary(instance, pos_mm))}</text>'
    ]
    for k in range(40):
        parts.append(f'<rect x="{12 + 5 * k}" y="{top + 18:.1f}" width="5.5" height="12" fill="{_colour(k / 39)}"/>')
    bar_mm = 10.0 ** np.floor(np.log10(instance.region.half_x_mm / 2))
    text = 'font-size="12" fill="#57606a"'
    ends = f"{instance.t_amb_c:.0f} degC</text>", f"{hottest:.0f} degC (proxy)</text>"
    parts.append(f'<text x="12" y="{top + 46:.1f}" {text}>{ends[0]}')
    parts.append(f'<text x="212" y="{top + 46:.1f}" {text} text-anchor="end">{ends[1]}')
    heaviest = float(instance.net_weight.max(initial=0.0))
    parts.append(
        f'<line x1="260" x2="320" y1="{top + 24:.1f}" y2="{top + 24:.1f}" stroke="#0b3d91" stroke-opacity="0.5" '
        f'stroke-width="{_NET_WIDTH_PX[1]}"/>'
        f'<text x="260" y="{top + 46:.1f}" {text}>net of traffic {heaviest:g}</text>'
    )
    left = _WIDTH_PX - 24 - bar_mm * scale
    parts.append(
        f'<line x1="{left:.2f}" x2="{left + bar_mm * scale:.2f}" y1="{top + 24:.1f}" y2="{top + 24:.1f}" '
        f'stroke="#1b1f24" stroke-width="2"/>'
        f'<text x="{_WIDTH_PX - 24:.2f}" y="{top + 46:.1f}" {text} text-anchor="end">{bar_mm:g} mm</text>'
    )
    return parts
