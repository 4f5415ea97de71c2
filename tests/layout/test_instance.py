"""Bad instances are refused with a message that names the field, the value and the mend."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.layout.instance import check_fits, layout_instance_from, read_layout_instance

BAD: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("missing field", lambda c: c.pop("wl_norm"), r"lacks the field\(s\) wl_norm"),
    ("zero chips", lambda c: c.update(w_mm=[], h_mm=[], tdp_w=[]), "zero chips"),
    ("lengths differ", lambda c: c.update(h_mm=[1.0]), "3, 1 and 3 entries"),
    ("nan width", lambda c: c["w_mm"].__setitem__(1, math.nan), r"w_mm\[1\] is nan"),
    ("zero height", lambda c: c["h_mm"].__setitem__(2, 0.0), r"h_mm\[2\] is 0"),
    ("negative power", lambda c: c["tdp_w"].__setitem__(0, -1.0), r"tdp_w\[0\] is -1"),
    ("text for numbers", lambda c: c.update(w_mm=["a", "b", "c"]), "w_mm: must be a list of numbers"),
    ("negative traffic", lambda c: c["nets"][0].__setitem__(2, -3.0), r"nets\[0\] has the weight -3"),
    ("nan traffic", lambda c: c["nets"][1].__setitem__(2, math.nan), r"nets\[1\]\[2\] is nan"),
    ("unknown chip", lambda c: c["nets"][0].__setitem__(1, 3), "chips are 0 to 2"),
    ("half a chip", lambda c: c["nets"][0].__setitem__(1, 0.5), "chips are 0 to 2"),
    ("self net", lambda c: c["nets"][0].__setitem__(1, 0), "to itself"),
    ("short net", lambda c: c["nets"].append([0, 1]), r"nets\[2\] is \[0, 1\]"),
    ("infinite constant", lambda c: c.update(ell_mm=math.inf), "ell_mm is inf"),
    ("zero length", lambda c: c.update(ell_mm=0), "ell_mm is 0; it must be above 0"),
    ("negative gap", lambda c: c.update(gap_mm=-0.1), "gap_mm is -0.1"),
    ("region kind", lambda c: c["region"].update(kind="hexagon"), "'hexagon'"),
    ("region size", lambda c: c["region"].pop("width_mm"), "lacks width_mm"),
    ("no region", lambda c: c["region"].update(width_mm=-2), "region.width_mm is -2"),
]


@pytest.mark.parametrize(("spoil", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_fields_are_named(content: dict[str, Any], spoil: Callable[[dict[str, Any]], Any], message: str) -> None:
    layout_instance_from(content, "good.json")
    spoil(content)
    with pytest.raises(DataError, match=message) as caught:
        layout_instance_from(content, "bad.json")
    assert "bad.json" in str(caught.value)


def test_a_file_that_is_no_instance(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(DataError, match="no such file"):
        read_layout_instance(path)
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match="JSON object"):
        read_layout_instance(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_layout_instance(path)


def test_a_chip_too_large_and_too_much_area_give_sizes(content: dict[str, Any]) -> None:
    content["w_mm"][0] = 13.0
    with pytest.raises(DataError, match=r"chip 0 of 13 x 2 mm \(26 mm2\) does not fit .* \(144 mm2\)"):
        check_fits(layout_instance_from(content, "big.json"))
    content.update(w_mm=[8.0] * 3, h_mm=[8.0] * 3)
    with pytest.raises(DataError, match=r"3 chips of 192 mm2 \(217 mm2 with a gap of 0.5 mm\) cannot fit"):
        check_fits(layout_instance_from(content, "full.json"))


def test_rotation_lets_a_long_chip_fit(content: dict[str, Any]) -> None:
    content["region"] = {"kind": "rect", "width_mm": 5.0, "height_mm": 14.0}
    content["w_mm"][0], content["h_mm"][0] = 6.0, 2.0
    instance = layout_instance_from(content, "long.json")
    with pytest.raises(DataError, match="as given"):
        check_fits(instance)
    check_fits(instance, rotate=True)


def test_read_is_what_was_written(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "three.json"
    path.write_text(json.dumps(content))
    instance = read_layout_instance(path)
    assert instance.num_chips == 3
    assert (instance.t_amb_c, instance.t_max_c, instance.region.area_mm2) == (40.0, 50.0, 144.0)
