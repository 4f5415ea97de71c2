"""Networks; they know no hardware."""
