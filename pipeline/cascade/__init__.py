"""The seizure cascade: one electrode and a small net first, the full array and a large net only in doubt."""
