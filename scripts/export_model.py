"""Export a run's network to ONNX: `python -m scripts.export_model --run results/demo/EXP-P1V-3-ast-no-hw/seed0`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.artifacts import write_json
from pipeline.command_line import exit_code


def main() -> None:
    """Parse the arguments, export the run's network, and keep what the check found beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished run, results/PRESET/EXP-ID/seedK")
    parser.add_argument("--batch", type=int, default=1, help="clips per call, fixed in the file (default: 1)")
    parser.add_argument("--out", type=Path, help="the file (default: model.onnx in the run folder)")
    arguments = parser.parse_args()
    if arguments.batch < 1:
        parser.error(f"--batch {arguments.batch}: give at least 1")
    out = arguments.out or arguments.run / "model.onnx"

    from pipeline.models.export_onnx import export_onnx, load_trained

    check = export_onnx(load_trained(arguments.run), out, batch_size=arguments.batch)
    write_json(out.with_suffix(".json"), check.as_json())
    print(
        f"wrote {out}: logits differ from PyTorch's by at most {check.largest_difference:.1e}; "
        f"batch of {check.batch_size}: PyTorch {check.torch_ms:.2f} ms, ONNX Runtime {check.onnx_ms:.2f} ms"
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
