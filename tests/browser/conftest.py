"""The Chromium of the portal's own browser tests."""

from local.tests.browser.conftest import chromium

__all__ = ["chromium"]
