"""Names and documents on the wire, errors, and the ports to the outside world."""
