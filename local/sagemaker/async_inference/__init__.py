"""Asynchronous invocations: their queue, their way through a container, notifications and metrics."""
