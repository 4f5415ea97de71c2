"""What the RTL takes of a Xilinx 7-series device, counted by yosys after synthesis."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..artifacts import read_json
from ..errors import DataError

TOP = "simple_path"
FAMILY = "xc7"
NOTE = (
    "Cells after yosys synth_xilinx, before place and route. yosys gives no timing and no power: clock rate and "
    "watts need the vendor's tools."
)
# Look-up tables that a cell occupies: distributed memory and shift registers are made of them (Xilinx UG474).
LUTS_OF_CELL = {
    **{f"LUT{inputs}": 1 for inputs in range(1, 7)},
    **{"INV": 1, "SRL16E": 1, "SRLC32E": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8},
    **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM32M": 4, "RAM64M": 4},
}
FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "FDCE_1", "FDPE_1")


def missing_yosys() -> str:
    """Why resources cannot be counted here, or an empty string if they can."""
    return "" if shutil.which("yosys") else "yosys is not installed (apt-get install yosys)"


def count_resources(folder: Path | str) -> dict[str, Any] | None:
    """Cells of the RTL of `write_rtl` on xc7: `DSP48E1`, `LUT`, `FF`, `RAMB18E1`, `RAMB36E1`, and `note`.

    `LUT` includes those that distributed memory and shift registers occupy. None where yosys is not installed.

    Raises:
        DataError: the folder holds no RTL, or yosys cannot synthesise it.
    """
    if missing_yosys():
        return None
    folder = Path(folder).resolve()
    if not (folder / f"{TOP}.v").is_file():
        raise DataError(f"{folder}: holds no {TOP}.v; write the RTL first")
    cells = _synthesised_cells(folder)
    return {
        "DSP48E1": cells.get("DSP48E1", 0),
        "LUT": sum(count * LUTS_OF_CELL.get(cell, 0) for cell, count in cells.items()),
        "FF": sum(cells.get(cell, 0) for cell in FLIP_FLOPS),
        "RAMB18E1": cells.get("RAMB18E1", 0),
        "RAMB36E1": cells.get("RAMB36E1", 0),
        "family": FAMILY,
        "note": NOTE,
    }


def _synthesised_cells(folder: Path) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as work:
        statistics = Path(work) / "cells.json"
        sources = " ".join(sorted(path.name for path in folder.glob("*.v") if path.name != "tb.v"))
        script = (
            f"read_verilog -defer -I. {sources}; synth_xilinx -family {FAMILY} -flatten -top {TOP}; "
            f"tee -q -o {statistics} stat -json"
        )
        done = subprocess.run(["yosys", "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DataError(f"{folder}: yosys failed: {(done.stderr or done.stdout).strip()[-2000:]}")
        cells = read_json(statistics)["design"]["num_cells_by_type"]
    return {str(cell): int(count) for cell, count in cells.items()}
