"""`make help` describes every target of the Makefile, in lines that fit a terminal."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_make_help_describes_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = [
        name for names in re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.M) for name in names.split()
    ]
    assert re.findall(r"^  ([a-z-]+)  +\S", shown, re.M) == [name for name in targets if name != "help"]
    assert all(len(line) <= 110 for line in shown.splitlines())
