"""Programs around the product: the demo, rehearsals, measurements and proofs."""
