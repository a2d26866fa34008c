"""The project's figures, measured side by side: `python -m tests.bench`."""
