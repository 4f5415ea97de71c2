"""Fit and judge the power formula: `python -m scripts.run_proxy_power --cfg configs/proxy_power.yaml`.

Power is fitted to whole models (--set data.model_energy=FILE --set data.model_kernels=FILE) at *predicted* latencies.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.command_line import exit_code
from pipeline.proxy_command import proxy_from_arguments, proxy_parser


def main() -> None:
    """Parse the arguments, fit, judge."""
    parser = proxy_parser(__doc__)
    parser.add_argument("--proxy", type=Path, help="output of run_proxy_ms_mem (default: fit one here)")
    arguments = parser.parse_args()
    config, out = proxy_from_arguments(arguments, "EXP-P0-2-power")

    from pipeline.hw_proxy.proxy_run import run_power

    print(run_power(config, out, arguments.proxy), flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(main))
