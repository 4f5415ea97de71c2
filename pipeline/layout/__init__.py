"""Where the chips of a design sit on the wafer: exact objective, legal search, differentiable terms."""
