"""Verification in Label Studio (self-hosted or its cloud): conversions, and what is asked of its API."""
