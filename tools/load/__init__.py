"""Load: many drives at once on the embedded cloud, counted and timed: `python -m tools.load`."""
