"""One AWS-like cloud in one process tree on 127.0.0.1, booted by `EmbeddedCloud`."""
