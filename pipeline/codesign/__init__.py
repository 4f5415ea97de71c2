"""Co-design: which chips, which mapping and which places, priced by one differentiable loss (spec §8.2, §12)."""
