"""`make build` refuses a stack whose buckets could not be created."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "stack-name", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_name_in_samconfig_is_accepted() -> None:
    assert make().returncode == 0


@pytest.mark.parametrize("name", ["a", "autolabel-2", "a" * 28])
def test_a_name_that_can_begin_a_buckets_name_is_accepted(name: str) -> None:
    assert make(f"STACK={name}").returncode == 0


@pytest.mark.parametrize("name", ["Autolabel", "2autolabel", "-a", "a_b", "a.b", "a" * 29, ""])
def test_another_name_is_refused_with_what_to_do(name: str) -> None:
    done = make(f"STACK={name}")
    assert done.returncode != 0
    assert f"{name} cannot be the stack's name" in done.stderr
    assert "samconfig.toml" in done.stderr


def test_a_build_checks_the_name_first() -> None:
    assert re.search(r"^build: stack-name ", (ROOT / "Makefile").read_text(), re.M)


def test_the_longest_name_leaves_room_for_the_longest_region() -> None:
    regions = re.findall(r"^    ([a-z]+-[a-z]+-[0-9]): ", (ROOT / "template.yaml").read_text(), re.M)
    longest = max(regions, key=len)
    assert len(f"{'a' * 28}-ingest-123456789012-{longest}") == 63
