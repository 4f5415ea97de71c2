"""Fit and judge the latency and memory proxy: `python -m scripts.run_proxy_ms_mem --cfg configs/proxy_ms_mem.yaml`.

Tables are given with --set data.layer_latency=FILE.parquet --set data.devices=FILE.csv; docs/proxy.md has the formats.
"""

from __future__ import annotations

import sys

from pipeline.command_line import exit_code
from pipeline.proxy_command import proxy_from_arguments, proxy_parser


def main() -> None:
    """Parse the arguments, fit, judge."""
    parser = proxy_parser(__doc__)
    config, out = proxy_from_arguments(parser.parse_args(), "EXP-P0-1-ms-mem")

    from pipeline.hw_proxy.proxy_run import run_ms_mem

    print(run_ms_mem(config, out), flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(main))
