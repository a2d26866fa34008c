"""The raw output of jobs has seeds, so only settling reads it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
# What reads a job's output in either back-end, and the places where Ground Truth leaves it.
_READS = re.compile(r"\b(read_output|read_answers|Results\(|output\.manifest|worker-response)")
# The readers themselves, the function that hands their lines to settling, and the take-over, which does the same.
_READERS = {
    "layers/autolabel/autolabel/verification/__init__.py",
    "layers/autolabel/autolabel/verification/ground_truth.py",
    "layers/autolabel/autolabel/verification/takeover.py",
    "functions/verify/app.py",
}
_TAKES = re.compile(r"settle_round\(|take_attempt\(|take_answers\(|def answers\(")


def test_only_settling_reads_what_jobs_left() -> None:
    sources = [path for room in ("layers", "functions", "cli") for path in (ROOT / room).rglob("*.py")]
    assert len(sources) > 200
    found = {str(path.relative_to(ROOT)) for path in sources if _READS.search(path.read_text("utf-8"))}
    assert found == _READERS
    for name in ("functions/verify/app.py", "layers/autolabel/autolabel/verification/takeover.py"):
        assert len(_TAKES.findall((ROOT / name).read_text("utf-8"))) >= 2
