"""Drives through the whole embedded cloud under seeded plans of faults: `python -m tools.chaos`."""
