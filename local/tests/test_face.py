"""The public face of the embedded cloud."""

from __future__ import annotations

import subprocess
import sys

import pytest

import local


def test_every_public_name_can_be_imported() -> None:
    assert sorted(local.__all__) == sorted(local._MODULES)
    assert all(getattr(local, name) is not None for name in local.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Cloud'"):
        _ = local.Cloud  # type: ignore[attr-defined]


def test_the_face_loads_nothing_before_a_name_is_used() -> None:
    program = "import sys, local; print([name for name in sys.modules if name.startswith('local.')])"
    # -S: without site-packages, like the parents of model servers.
    printed = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
