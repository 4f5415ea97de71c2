"""Measurements against peers and bars; not tests. `python -m benchmarks.<name> --json OUT`."""
