"""Command-line entries: arguments in, one call to the package, nothing else."""
