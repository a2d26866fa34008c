"""Faults that an embedded cloud injects into itself when it is asked to: for rehearsals, never for a demo."""
