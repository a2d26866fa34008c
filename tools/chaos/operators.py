"""The operator of the chaos test: stops, redrives and relabels as the command `autolabel` does."""

from __future__ import annotations

import time
from collections import Counter

from botocore.exceptions import ClientError

from autolabel.contracts.drive import execution_name
from autolabel_cli.operations.interventions import redrive_run, relabel_drive, stop_run
from tools.chaos.stage import Stage, until

ENDED = {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}
# How long an operator waits for the reviewers of a drive.
PATIENCE_SECONDS = 40.0
# Reviewers who answer no frame for this time have stopped to work.
_IDLE_SECONDS = 0.5


class Operator:
    """Acts on the latest run of each drive. `relabelled`: how many runs it began, by drive."""

    def __init__(self, stage: Stage) -> None:
        self.relabelled: Counter[str] = Counter()
        self._stage = stage

    def arn(self, drive: str) -> str:
        """The ARN of the execution of the drive's latest run."""
        return self._stage.stack.execution_arn(execution_name(drive, self._stage.stack.run_of(drive)))

    def status(self, drive: str) -> str:
        """The status of that execution; empty when there is none."""
        try:
            execution = self._stage.client("stepfunctions").describe_execution(executionArn=self.arn(drive))
        except ClientError as e:
            if e.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            return ""
        return str(execution["status"])

    def redrive(self, drive: str) -> None:
        """Redrive the latest run of a drive."""
        redrive_run(self._stage.stack, drive)

    def relabel(self, drive: str) -> None:
        """Label a drive again, and keep its reviewers' labels."""
        relabel_drive(self._stage.stack, drive)
        self.relabelled[drive] += 1

    def intervene(self, drive: str, act: str) -> bool:
        """Stop a run when its reviewers have answered a part, and then act; whether there was such a run.

        act: redrive, relabel, or relabel at once, which does not wait for reviewers. A run that has failed or was
        stopped by another needs no stop.
        """
        ready = self._has_begun if act == "relabel at once" else self.is_half_way
        if not until(lambda: ready(drive) or self.status(drive) in ENDED, PATIENCE_SECONDS):
            return False
        if self.status(drive) == "SUCCEEDED":
            return False
        stop_run(self._stage.stack, drive)
        if act == "redrive":
            self.redrive(drive)
        else:
            self.relabel(drive)
        return True

    def _has_begun(self, drive: str) -> bool:
        return self.status(drive) == "RUNNING"

    def is_half_way(self, drive: str) -> bool:
        """Whether a job is answered in part, and its reviewers do not go on."""
        before = self._answered(drive)
        if not any(0 < answered < frames for answered, frames in before.values()):
            return False
        # Reviewers at work answer a frame in less.
        time.sleep(_IDLE_SECONDS)
        return self._answered(drive) == before

    def _answered(self, drive: str) -> dict[str, tuple[int, int]]:
        """The answered frames and all frames of the open jobs of a drive's latest run, by the job's name."""
        jobs = self._stage.client("sagemaker").list_labeling_jobs(
            NameContains=f"{drive}-", StatusEquals="InProgress", MaxResults=100
        )["LabelingJobSummaryList"]
        counts = {job["LabelingJobName"]: job["LabelCounters"] for job in jobs}
        run = f"-{self._stage.stack.run_of(drive)}-"
        return {
            name: (count["TotalLabeled"], count["TotalLabeled"] + count["Unlabeled"])
            for name, count in counts.items()
            if run in name
        }
