"""Drives in and results out: `autolabel upload`, `watch` and `fetch`."""
