"""Lambda functions as processes on the real Lambda Runtime API."""
