"""Simulates fleets under the rule of acceptance: `make acceptance`, or `python -m tools.acceptance`.

The audits of each simulated fleet go through the product's own rule (`ClassRecord`), stretch by stretch. What is wrong
is drawn with a known precision. So the simulation knows when acceptance began wrongly: while the expected error, in the
mean over the attempt's stretches, was not below 1 - target.
"""
