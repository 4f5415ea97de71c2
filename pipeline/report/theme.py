"""Colours of the page and its figures, light and dark: one source for the style sheet and the SVG files.

Every text colour reaches a contrast of 4.5 to 1 on its background and every mark 3 to 1 (asserted by a test).
"""

from __future__ import annotations

from typing import Any

LIGHT = {
    "bg": "#ffffff",
    "panel": "#f6f8fa",
    "ink": "#1b1f24",
    "muted": "#57606a",
    "line": "#d3d9e0",
    "accent": "#0b5cad",
    "better": "#116329",
    "worse": "#a40e26",
    "warning": "#fff4ce",
    "c1": "#0b5cad",
    "c2": "#b34700",
    "c3": "#1a7f37",
    "c4": "#8250df",
    "c5": "#bf2c72",
    "c6": "#0f7078",
    "c7": "#7a5c00",
    "c8": "#57606a",
}
DARK = {
    "bg": "#10151b",
    "panel": "#182029",
    "ink": "#e6edf3",
    "muted": "#a3afbb",
    "line": "#33404d",
    "accent": "#79b8ff",
    "better": "#63d887",
    "worse": "#ff9d96",
    "warning": "#3b3211",
    "c1": "#79b8ff",
    "c2": "#ffa657",
    "c3": "#63d887",
    "c4": "#cba6ff",
    "c5": "#ff9bce",
    "c6": "#5fd3dc",
    "c7": "#e3c14f",
    "c8": "#a3afbb",
}
SERIES = tuple(f"var(--c{k})" for k in range(1, 9))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def palette_css() -> str:
    """Custom properties of the page: light, dark by the reader's system, and either by the page's own switch."""
    return (
        f":root{{{_variables(LIGHT)}color-scheme:light}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{_variables(DARK)}color-scheme:dark}}}}\n"
        f":root[data-theme=dark]{{{_variables(DARK)}color-scheme:dark}}\n"
        f"@media print{{:root:root:root{{{_variables(LIGHT)}color-scheme:light}}}}\n"
    )


def svg_style() -> str:
    """The same colours for an SVG opened as a file; inside a page `svg:root` matches nothing, so the page's hold."""
    light, dark = (f"svg:root{{{_variables(c)}color:{c['ink']};background:{c['bg']}}}" for c in (LIGHT, DARK))
    return f"<style>{light}@media (prefers-color-scheme:dark){{{dark}}}</style>"


def chart_config() -> dict[str, Any]:
    """Vega-Lite configuration: transparent, colours by custom property, sizes that stay readable when scaled."""
    text = {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": text
        | {
            "gridColor": "var(--line)",
            "domainColor": "var(--muted)",
            "tickColor": "var(--muted)",
            "titleFontWeight": "normal",
            "labelLimit": 260,
        },
        "legend": text | {"labelLimit": 260, "symbolStrokeWidth": 2, "titleFontWeight": "normal"},
        "header": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12},
        "title": {"color": "currentColor", "fontSize": 13, "anchor": "start", "fontWeight": 600},
        "text": {"color": "currentColor", "fontSize": 12},
    }


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())
