"""From a Vega-Lite specification to SVG, and the one JavaScript bundle that makes figures interactive."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from markupsafe import Markup

from ..errors import DataError
from .theme import svg_style

VEGA_LITE_VERSION = "6.4"
REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')


def svg_of(spec: dict[str, Any], name: str) -> str:
    """The figure as a standalone SVG that also fits into a page of many figures.

    Ids are prefixed with `name`, because several figures of one page would share them. The colours are custom
    properties: the page's where it is part of one, its own (light and dark) where it is a file.

    Raises:
        DataError: the figure links to a web address.
    """
    import vl_convert

    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE_VERSION)
    svg = REFERENCE.sub(lambda match: f"{match.group(1)}{name}-", svg)
    if 'href="http' in svg:
        raise DataError(f"figure {name}: links to a web address; reports open offline")
    opening, rest = svg.split(">", 1)
    return f"{opening}>{svg_style()}{rest}"


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script without imports, safe inside a `<script>` element."""
    import vl_convert

    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE_VERSION)
    return bundle.replace("</script", "<\\/script")


def json_for_script(value: Any) -> Markup:
    """JSON that cannot close the `<script>` element it stands in."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))
