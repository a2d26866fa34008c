"""Runs one plan: faults strike, then they stop; the operator's part is done, and all frames are checked."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from autolabel_cli.drives.log_status import ENDED_BADLY, redrive_logs
from tools.chaos.checker import Verdict, executions, gather, judge, pending_keys
from tools.chaos.fleet import Upload
from tools.chaos.log_checker import extractions
from tools.chaos.log_fleet import LogUpload
from tools.chaos.operators import ENDED, Operator
from tools.chaos.operators import PATIENCE_SECONDS as OPERATORS_PATIENCE
from tools.chaos.plans import Plan
from tools.chaos.stage import Stage, until
from tools.chaos.world import World

# Faults that must strike get up to this many times the plan's seconds: machines differ in speed.
LONGEST_FAULTS = 3
# A drive is stuck if it has not ended this long after the faults stopped.
PATIENCE_SECONDS = 90.0
SETTLING_SECONDS = 30.0
# Redrives of one run before it counts as stuck.
MOST_REDRIVES = 4
# Counts the logs that other bytes replaced before their extraction ended.
REPLACED = "log replaced"
DEAD_LETTERS = {"SubmitDeadLetters": "SubmitQueue", "CollectDeadLetters": "CollectQueue"}


@dataclass
class Outcome:
    """Result of a plan. `redrives`: operator actions; `swept`: calls of sweep; `stuck`: why drives did not end."""

    plan: Plan
    injected: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    redrives: int = 0
    swept: int = 0
    seconds: float = 0.0
    stuck: list[str] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Whether none of the plan's faults struck or, if it has none, of its events; or not all that must."""
        plan = self.plan
        if plan.all_must_strike:
            return not {str(thing) for thing in (*plan.faults, *plan.events)} <= self.injected.keys()
        wanted = {str(thing) for thing in plan.faults or plan.events} or {REPLACED}
        return plan.must_strike and not wanted & self.injected.keys()

    @property
    def in_order(self) -> bool:
        """Whether every drive ended, and nothing was lost, doubled or otherwise wrong."""
        return not self.stuck and all(verdict.good for verdict in self.verdicts.values())

    @property
    def good(self) -> bool:
        return self.in_order and not self.idle

    @property
    def frames(self) -> int:
        return sum(verdict.frames for verdict in self.verdicts.values())

    @property
    def lost(self) -> int:
        return sum(len(verdict.lost) for verdict in self.verdicts.values())

    @property
    def doubled(self) -> int:
        return sum(len(verdict.doubled) for verdict in self.verdicts.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "plan": self.plan.name,
            "seed": self.plan.seed,
            "injected": self.injected,
            "frames": self.frames,
            "lost": self.lost,
            "doubled": self.doubled,
            "redrives": self.redrives,
            "swept": self.swept,
            "seconds": round(self.seconds, 1),
            "good": self.good,
            "stuck": self.stuck,
            "problems": {drive: [*v.lost, *v.doubled, *v.problems] for drive, v in self.verdicts.items() if not v.good},
        }


class Rehearsal:
    """Runs a plan; the names of its drives begin with `label`."""

    def __init__(self, stage: Stage, plan: Plan, label: str) -> None:
        self._stage = stage
        self._outcome = Outcome(plan)
        self._uploads = [
            LogUpload(stage, f"{label}-{i}", drive.logs, drive.models)
            if drive.logs
            else Upload(stage, f"{label}-{i}", drive)
            for i, drive in enumerate(plan.drives)
        ]
        self._redriven: dict[str, int] = {}
        self._operator = Operator(stage)

    def run(self) -> Outcome:
        """Run the plan and check its result."""
        began = time.monotonic()
        outcome = self._outcome
        outcome.injected = self._strike(began)
        if until(self._repaired, PATIENCE_SECONDS):
            until(self._quiet, SETTLING_SECONDS)
            # Late duplicates may bring back a unit for a moment.
            until(self._in_order, SETTLING_SECONDS)
            outcome.injected |= self._replaced()
        else:
            outcome.stuck = [*outcome.stuck, *self._waits()]
        outcome.seconds = time.monotonic() - began
        return outcome

    def _strike(self, began: float) -> dict[str, int]:
        """Upload the drives under the plan's faults, and heal the world; return what struck. `began`: monotonic."""
        plan = self._outcome.plan
        self._stage.cloud.faults.arm(plan.seed, plan.faults)
        world = World(self._stage, plan.events, [upload.drive for upload in self._uploads], self._operator)
        longest = (LONGEST_FAULTS if plan.must_strike else 1) * plan.seconds
        try:
            self._upload()
            heals = began + plan.seconds
            until(lambda: not world.intervening, OPERATORS_PATIENCE)
            until(lambda: self._all_ended() or (time.monotonic() > heals and self._all_struck()), longest)
        finally:
            self._stage.cloud.faults.disarm()
            world.heal()
        return {**self._stage.cloud.faults.injected(), **world.happened}

    def _upload(self) -> None:
        with ThreadPoolExecutor(len(self._uploads)) as pool:
            for uploaded in [pool.submit(upload.run) for upload in self._uploads]:
                uploaded.result()

    def _all_succeeded(self) -> bool:
        return all(self._operator.status(upload.drive) == "SUCCEEDED" for upload in self._uploads)

    def _all_ended(self) -> bool:
        return all(self._operator.status(upload.drive) in ENDED for upload in self._uploads)

    def _all_struck(self) -> bool:
        return {str(fault) for fault in self._outcome.plan.faults} <= self._stage.cloud.faults.injected().keys()

    def _repaired(self) -> bool:
        """Do the operator's part: move dead letters back, redrive failed runs. Whether every drive succeeded."""
        for dead, queue in DEAD_LETTERS.items():
            if self._stage.messages(dead):
                self._move(dead, queue)
        for upload in self._uploads:
            status = self._operator.status(upload.drive)
            if status == "":
                self._advance(upload)
            elif status in ENDED - {"SUCCEEDED"} and self._redriven.get(upload.drive, 0) < MOST_REDRIVES:
                self._redriven[upload.drive] = self._redriven.get(upload.drive, 0) + 1
                self._outcome.redrives += 1
                self._operator.redrive(upload.drive)
        return self._all_succeeded()

    def _quiet(self) -> bool:
        return not any(self._stage.messages(queue) for queue in DEAD_LETTERS.values())

    def _in_order(self) -> bool:
        for upload in self._uploads:
            runs = 1 + self._operator.relabelled[upload.drive]
            sent = upload.sent if isinstance(upload, LogUpload) else ()
            evidence = gather(self._stage, upload.drive, frozenset(upload.promised), runs, sent)
            self._outcome.verdicts[upload.drive] = judge(evidence)
        return self._outcome.in_order

    def _advance(self, upload: Upload | LogUpload) -> None:
        """Do what a drive waits for that is not closed: redrive failed extractions, and else sweep."""
        drive = upload.drive
        if isinstance(upload, LogUpload):
            statuses = [status for _, status in extractions(self._stage, drive)]
            if "RUNNING" in statuses:
                return
            if set(statuses) & set(ENDED_BADLY) and self._redriven.get(drive, 0) < MOST_REDRIVES:
                redriven = len(redrive_logs(self._stage.stack, drive))
                self._redriven[drive] = self._redriven.get(drive, 0) + bool(redriven)
                self._outcome.redrives += redriven
                if redriven:
                    return
        self._sweep()

    def _replaced(self) -> dict[str, int]:
        drives = [upload.drive for upload in self._uploads if isinstance(upload, LogUpload)]
        records = [record for drive in drives for record in self._stage.stack.ledger.logs(drive)]
        # The first bytes of a log have a later attempt when they came again.
        replaced = sum(record.state == "replaced" or record.attempt > 1 for record in records)
        return {REPLACED: replaced} if replaced else {}

    def _sweep(self) -> None:
        """Call sweep, as its schedule does, once no message is left that could close the drive."""
        if not self._stage.messages("SubmitQueue"):
            self._outcome.swept += 1
            self._stage.client("lambda").invoke(FunctionName=self._stage.function("SweepFunction"), Payload=b"{}")

    def _move(self, dead: str, queue: str) -> None:
        """Move the messages of a dead-letter queue back to its queue."""
        sqs = self._stage.client("sqs")
        arns = [
            sqs.get_queue_attributes(QueueUrl=self._stage.queue_url(name), AttributeNames=["QueueArn"])["Attributes"]
            for name in (dead, queue)
        ]
        sqs.start_message_move_task(SourceArn=arns[0]["QueueArn"], DestinationArn=arns[1]["QueueArn"])
        self._outcome.redrives += 1

    def _waits(self) -> Iterable[str]:
        """The state of the drives that did not end: queues, executions, pending units, histories and logs."""
        for queue in ("SubmitQueue", "CollectQueue", *DEAD_LETTERS):
            yield f"{queue}: {self._stage.messages(queue)} messages"
        for upload in self._uploads:
            drive = upload.drive
            yield f"{drive}: executions {executions(self._stage, drive)}, redriven {self._redriven.get(drive, 0)} times"
            if isinstance(upload, LogUpload):
                yield f"{drive}: extractions {list(extractions(self._stage, drive))}"
                yield f"{drive}: logs {self._stage.stack.ledger.logs(drive)}"
            yield f"{drive}: pending {sorted(key for key, _ in pending_keys(self._stage, drive))}"
            yield f"{drive}: waiting runs {len(self._stage.stack.ledger.waiting_runs(drive))}"
            yield from (f"{drive}: {line}" for line in self._history(drive))
        for log in sorted((self._stage.cloud.folder / "functions").glob("*.log")):
            lines = [
                line for line in log.read_text(errors="replace").splitlines() if self._uploads[0].drive[:-2] in line
            ]
            yield from (f"{log.stem}: {line[:400]}" for line in lines[-3:])

    def _history(self, drive: str) -> list[str]:
        if not self._operator.status(drive):
            return []
        events = self._stage.client("stepfunctions").get_execution_history(
            executionArn=self._operator.arn(drive), reverseOrder=True, maxResults=8
        )["events"]
        return [
            f"{e['type']} {next((v for k, v in e.items() if k.endswith('Details')), '')}"[:400]
            for e in reversed(events)
        ]
