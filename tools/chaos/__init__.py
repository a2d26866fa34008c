"""Labels drives on the embedded cloud under seeded plans of faults, and checks every frame: `python -m tools.chaos`."""
