"""Labels many drives at once on the embedded cloud, counts their frames and measures times: `python -m tools.load`."""
