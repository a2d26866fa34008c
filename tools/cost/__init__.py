"""Prices what a drive uses on the embedded cloud, and what other ways of labelling use: `python -m tools.cost`."""
