"""The domain's ports in memory, with the guarantees of the real ones; `tests/contract` holds both to them."""
