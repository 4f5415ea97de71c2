"""From raw video and sound to windows a model can read."""
