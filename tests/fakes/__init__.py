"""The domain's ports in memory; `tests/contract` holds them and the real adapters to the same guarantees."""
