"""Training loops, metrics and checkpoints."""
