"""The wafer map: well-formed, every chip at its place and size, every net drawn, trouble said."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
from test_objective import POSITIONS

from pipeline.layout.instance import layout_instance_from
from pipeline.layout.wafer_map import wafer_map_svg

SVG = "{http://www.w3.org/2000/svg}"


def test_chips_and_nets_are_drawn_to_scale(content: dict[str, Any]) -> None:
    instance = layout_instance_from(content, "three.json")
    root = ET.fromstring(wafer_map_svg(instance, POSITIONS))
    drawing = root.find(f"{SVG}g")
    assert drawing is not None
    region, *chips = drawing.findall(f"{SVG}rect")
    assert float(region.attrib["width"]) == 12
    for chip, centre, w, h in zip(chips, POSITIONS, instance.w_mm, instance.h_mm, strict=True):
        x, y, width, height = (float(chip.attrib[key]) for key in ("x", "y", "width", "height"))
        assert np.allclose([x + width / 2, y + height / 2, width, height], [*centre, w, h])
    wide, thin = (float(line.attrib["stroke-width"]) for line in drawing.findall(f"{SVG}line"))
    assert wide > thin


def test_title_says_legal_or_what_is_wrong(content: dict[str, Any]) -> None:
    content["name"] = "<three & more>"
    instance = layout_instance_from(content, "three.json")
    good = ET.fromstring(wafer_map_svg(instance, POSITIONS)).findtext(f"{SVG}title")
    bad = ET.fromstring(wafer_map_svg(instance, np.zeros((3, 2)))).findtext(f"{SVG}title")
    assert good == "<three & more>: 3 chips, legal, J 1.1500"
    assert bad is not None
    assert "ILLEGAL: 3 pairs" in bad
