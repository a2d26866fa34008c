"""The measured work: tools.bench.probe runs each function in an interpreter of its own."""
