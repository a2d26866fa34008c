"""The project's figures, measured side by side: `python -m tools.bench`."""
