"""Simulates reviewers and seeded errors: `make vigilance`, or `python -m tools.vigilance`.

It holds the bound of overlooked errors (`reporting/vigilance.py`) against the errors that were really overlooked, also
where real errors are harder to see than seeded ones.
"""
