"""Meters what AWS would bill of the use of an embedded cloud (local/README.md, "Meter")."""
