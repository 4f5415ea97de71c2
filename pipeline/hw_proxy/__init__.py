"""What layers cost on hardware."""
