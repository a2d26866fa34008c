"""Triage: how much doubt there is about a frame, who has to see it, and what audits prove."""
