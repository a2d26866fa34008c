"""Reporting: what a run came to and what people did, as a page and as figures."""
