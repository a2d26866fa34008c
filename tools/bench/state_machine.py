"""Figures of a run in Step Functions: payloads, history, price of transitions, and how long it can wait."""

from __future__ import annotations

from local.cloud.stepfunctions.history import EVENT_LIMIT
from local.cloud.stepfunctions.limits import PAYLOAD_BYTES
from tools.bench.figures import Figure, at_least, at_most
from tools.bench.probe import run_probe

# Price of 1,000 transitions of Standard executions (AWS, us-east-1), and the budget for 1,000,000 frames.
DOLLARS = 0.025
BUDGET = 20
# 1,000,000 units at 20 a second take 14 hours, in which AwaitInference times out every 15 minutes.
FRAMES_A_SECOND, AWAIT_SECONDS = 20, 900
_EXECUTION = "tools.bench.work.execution"


def state_machine_figures(frames: int, calls: int) -> list[Figure]:
    """The figures of a run of `frames` frames, each of whose reconcile passes takes `calls` calls."""
    waits = frames // FRAMES_A_SECOND // AWAIT_SECONDS + 1
    counts = run_probe(f"{_EXECUTION}:run_execution", frames, waits, calls)
    payloads = sorted(counts["payloads"].items(), key=lambda item: -item[1])
    events, transitions = counts["events"], counts["transitions"]
    dollars = transitions * DOLLARS / 1000 * 1_000_000 / frames
    turn = counts["turn_events"]
    days = run_probe(f"{_EXECUTION}:wait_until_full", "AwaitInference", "TimeoutSeconds", turn)["days"]
    frames_days = run_probe(f"{_EXECUTION}:wait_until_full", "AwaitFrames", "Seconds", 9)["days"]
    run = f"{frames:,} frames, {counts['shards']:,} shards, {counts['jobs']} jobs"
    group = "state machine"
    return [
        Figure(
            group,
            f"largest payload between states over {PAYLOAD_BYTES:,} bytes",
            f"{run}: " + ", ".join(f"{name} {size:,}" for name, size in payloads[:7]),
            payloads[0][1] / PAYLOAD_BYTES,
            at_most(0.1),
        ),
        Figure(
            group,
            f"events of the execution over {EVENT_LIMIT:,}",
            f"{events:,} with {waits} waits; a pass of {calls} calls has {turn}",
            events / EVENT_LIMIT,
            at_most(0.1),
        ),
        Figure(
            group,
            f"events of a shard's execution over {EVENT_LIMIT:,}",
            f"{counts['shard_events']}",
            counts["shard_events"] / EVENT_LIMIT,
            at_most(0.1),
        ),
        Figure(
            group,
            f"price of transitions for 1,000,000 frames over ${BUDGET}",
            f"{transitions:,} transitions of the run, ${dollars:.2f} for 1,000,000 frames",
            dollars / BUDGET,
            at_most(1),
        ),
        Figure(
            group,
            "days until waiting for answers fills the history, over 30",
            f"{days:.0f} days, {EVENT_LIMIT // turn:,} passes",
            days / 30,
            at_least(1),
        ),
        Figure(
            group,
            "days until waiting for promised frames fills the history, over the 7 that it may take",
            f"{frames_days:.0f} days, {EVENT_LIMIT // 9:,} polls",
            frames_days / 7,
            at_least(1),
        ),
    ]
