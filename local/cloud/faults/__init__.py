"""Faults that an embedded cloud injects into itself on demand: for rehearsals, never for a demonstration."""
