"""Verification: what people are given, in whichever back-end they work, and what they leave."""
