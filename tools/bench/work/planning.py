"""Measures planning a run's shards, over generated pages."""

from __future__ import annotations

from typing import Any

from autolabel.labelling.plan import plan_run
from tools.bench.work.drive import SHARD_FRAMES, make_run
from tools.bench.work.generated_units import GeneratedLabels, GeneratedLedger, Shares
from tools.bench.work.pace import Pace

SETTLED = Shares(answered=98, failed=2)


def plan_frames(frames: int, short: int = 0, stops: int = 0) -> dict[str, Any]:
    """Plan a drive of `frames` frames; `short` and `stops` as in Pace."""
    pace = Pace(frames, "tools.bench.work.planning:plan_frames", short=short, stops=stops)
    labels = GeneratedLabels(frames, SETTLED, pace.add)
    plan = plan_run(
        make_run(), label_bucket=labels, ledger=GeneratedLedger(frames, SETTLED).port, shard_frames=SHARD_FRAMES
    )
    measured = pace.stop()
    if (plan.frames, plan.shards) != (frames, frames // SHARD_FRAMES):
        raise AssertionError(f"unexpected plan of {frames} frames: {plan}")
    return measured
