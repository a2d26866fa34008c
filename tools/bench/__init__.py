"""Measures the project's figures, each as a ratio of two measurements side by side: `python -m tools.bench`."""
