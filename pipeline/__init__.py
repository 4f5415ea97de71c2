"""Co-design workbench: from raw video to pruned models, chips, mapping and wafer layout."""
