"""The completion protocol: submission, completion and reconciliation of units."""
