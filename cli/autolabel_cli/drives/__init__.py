"""Taking drives in and results out: upload, watch, fetch."""
