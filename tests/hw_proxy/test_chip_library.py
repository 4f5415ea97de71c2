"""The chip library: every figure plausible, every mistake told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.artifacts import write_yaml
from pipeline.config.chips import ChipType
from pipeline.errors import ConfigError
from pipeline.hw_proxy.chip_library import LIBRARY_FILE, load_chip_library
from pipeline.mapping import segments

BIG: dict[str, Any] = {
    "name": "big",
    "peak_flops": 1e14,
    "peak_bw": 1e12,
    "mem_gb": 24.0,
    "area_mm2": 600.0,
    "width_mm": 25.0,
    "height_mm": 24.0,
    "tdp_w": 350.0,
}


def test_the_library_reads_and_names_its_sources():
    library = load_chip_library()
    assert all(chip.source for chip in library.chips.values())
    assert [chip.name for chip in library.select("default")] == library.libraries["default"]
    assert library.select("a100")[0].device == "A100-PCIE-40GB"


def test_no_chip_of_the_default_library_leads_everywhere_and_the_control_has_one_that_does():
    def leaders(name: str) -> set[str]:
        chips = load_chip_library().select(name)
        measures = (
            lambda chip: chip.peak_flops / chip.area_mm2,
            lambda chip: chip.peak_flops / chip.tdp_w,
            lambda chip: chip.mem_gb,
        )
        return {max(chips, key=measure).name for measure in measures}

    assert len(leaders("default")) > 1
    control = load_chip_library().select("control")
    assert max(control, key=lambda chip: chip.peak_flops / chip.tdp_w).name == "xcd"


def test_the_spec_finds_chip_type_beside_segments():
    assert segments.ChipType is ChipType


def test_idle_power_has_a_stated_fallback():
    assert ChipType(**BIG).idle_w == pytest.approx(52.5)
    assert "num_sm" not in ChipType(**BIG).specs()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"area_mm2": 620}, "width_mm x height_mm"),
        ({"peak_bw": 0}, "peak_bw=0"),
        ({"mem_gb": -1}, "mem_gb=-1"),
        ({"tdp_w": 2000}, "W/mm2"),
        ({"idle_w": 350}, "idle_w=350"),
        ({"peak_flops": float("nan")}, "peak_flops=nan"),
        ({"peak_flops": "fast"}, "peak_flops='fast' is not a number"),
    ],
)
def test_impossible_figures_are_refused(tmp_path: Path, change: dict[str, Any], complaint: str):
    path = tmp_path / "chips.yaml"
    write_yaml(path, {"chip_types": [BIG | change]})
    with pytest.raises(ConfigError, match="chip big: ") as error:
        load_chip_library(path)
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"chip_types": [BIG | {"peak_flop": 1.0}]}, "did you mean 'peak_flops'"),
        ({"chip_types": [{"name": "big"}]}, "lacks peak_flops"),
        ({"chip_types": [BIG, BIG]}, "given twice"),
        ({"chip_types": []}, "at least one chip"),
        ({"chip_types": [BIG], "libraries": {"default": ["bigg"]}}, "did you mean 'big'"),
        ({"chip_types": [BIG], "link": {"gb_s": 0, "hop_ms": 0.0, "pj_per_bit": 1.0}}, "gb_s=0"),
        ({"chips": [BIG]}, "unknown key 'chips'"),
    ],
)
def test_mistakes_in_the_file_are_told_with_its_name(tmp_path: Path, content: dict[str, Any], complaint: str):
    path = tmp_path / "chips.yaml"
    write_yaml(path, content)
    with pytest.raises(ConfigError) as error:
        load_chip_library(path)
    assert str(path) in str(error.value)
    assert complaint in str(error.value)


def test_the_specs_own_notation_of_numbers_is_read(tmp_path: Path):
    path = tmp_path / "chips.yaml"
    path.write_text(
        "chip_types:\n  - " + yaml.safe_dump(BIG).replace("100000000000000.0", "1.0e14").replace("\n", "\n    ")
    )
    assert load_chip_library(path).chips["big"].peak_flops == 1e14
    assert "1.0e14" in LIBRARY_FILE.read_text()
