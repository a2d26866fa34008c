"""Asynchronous invocations: queue, call of the container, output, notifications, metrics."""
