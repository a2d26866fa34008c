"""Verification in Label Studio (self-hosted or its cloud): conversions, and calls of its API."""
