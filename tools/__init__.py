"""Programs around the product: demo, benchmark, load test, chaos test, label quality and proof."""
