"""Predict layers on any devices: `python -m scripts.predict_layers --proxy DIR --layers IN --devices CSV --out OUT`.

OUT holds the rows of IN with latency_ms_pred, its interval (latency_ms_low, latency_ms_high), power_w_pred and
mem_mb_pred. Devices that were never measured need no more than a row of specs; a few measured rows (--calibrate)
sharpen them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.command_line import exit_code


def main() -> None:
    """Parse the arguments and predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", type=Path, required=True, help="output folder of run_proxy_ms_mem or _power")
    parser.add_argument("--layers", type=Path, required=True, help="Parquet table of layers (docs/proxy.md)")
    parser.add_argument("--devices", type=Path, required=True, help="CSV of device specs")
    parser.add_argument("--calibrate", type=Path, help="Parquet table of some measured rows of these devices")
    parser.add_argument("--out", type=Path, required=True, help="Parquet table of predictions")
    arguments = parser.parse_args()
    print(f"proxy {arguments.proxy} | layers {arguments.layers} | output {arguments.out}", flush=True)

    from pipeline.hw_proxy.predict_frame import predict_file

    print(predict_file(**vars(arguments)), flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(main))
