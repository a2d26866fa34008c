"""What is measured: each function runs in an interpreter of its own, started by tools.bench.probe."""
