"""`make demo` and `make cloud`: the stack on the embedded cloud."""
