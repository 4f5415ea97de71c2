"""Mapping segments of a network to chip slots, with a certificate (spec §9-10)."""
