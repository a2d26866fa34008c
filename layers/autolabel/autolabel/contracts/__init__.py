"""Defines the names and documents on the wire, the errors, and the ports to the outside world."""
