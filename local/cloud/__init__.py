"""The cloud itself: one process tree on 127.0.0.1, started by `EmbeddedCloud`."""
