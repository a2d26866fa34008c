"""`python -m tools.chaos.upgrade --from REVISION`: update a stack while drives are in flight; nothing may be lost.

The stack of an earlier revision of this repository is built and deployed, and its drives are brought into states that
last. Then the stack of the working tree takes its place. Exit status 1 if a frame or an answer is lost or doubled, a
run fails, or a drive does not end.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from local import Fault
from tools.chaos.fleet import Upload
from tools.chaos.plans import DrivePlan, Plan
from tools.chaos.rehearsal import Outcome, Rehearsal
from tools.chaos.stage import MODEL, PARAMETERS, Stage, set_stage, until
from tools.demo.deployment import PARAMETERS as DEFAULTS
from tools.demo.deployment import PROJECT, STACK, SamTools

FOLDER = PROJECT / "build" / "upgrade"
# The first part of a dataset is written, and the run hears of it late: on a fast machine after the upgrade.
_HALF_PUBLISHED = Fault("invocation", "slow", "PublishFunction", skip=1, seconds=100)
_STATE_SECONDS = 60.0
_LABEL = "up"


class InFlight(Exception):
    """A drive did not come into the state in which the upgrade is to meet it."""


class Upgrade(Rehearsal):
    """Upgrades the stack to a built template while five drives are in flight.

    `times`: seconds of its steps. `after`: the status of each run that was under way, once the upgrade is over.
    The drives are published, with reviewers (half answered), half published, waiting for an endpoint, and still open.
    """

    def __init__(self, stage: Stage, template: Path) -> None:
        drives = tuple(
            DrivePlan(tuple((f"front/{1_700_000_000_000_000_000 + i}", "good") for i in range(frames)), closing=closing)
            for frames, closing in ((4, "once"), (8, "once"), (12, "once"), (4, "once"), (4, "never"))
        )
        reviewed = Fault("job", "half-answered", f"{_LABEL}-1-")
        plan = Plan("upgrade", 1, drives, (reviewed, _HALF_PUBLISHED), all_must_strike=True)
        super().__init__(stage, plan, _LABEL)
        self.times = dict[str, float]()
        self.after = dict[str, str]()
        self._template = template

    def _strike(self, began: float) -> dict[str, int]:
        published, reviewed, publishing, waiting, opened = (u for u in self._uploads if isinstance(u, Upload))
        faults, plan = self._stage.cloud.faults, self._outcome.plan
        self._bring(published, "published", lambda: self._operator.status(published.drive) == "SUCCEEDED")
        faults.arm(plan.seed, plan.faults)
        try:
            self._bring(reviewed, "answered in part", lambda: self._operator.is_half_way(reviewed.drive))
            self._bring(publishing, "half published", lambda: str(_HALF_PUBLISHED) in faults.injected())
            config = self._remove_endpoint()
            self._bring(waiting, "waiting", lambda: bool(self._stage.stack.ledger.waiting_runs(waiting.drive)))
            opened.run()
            self.times["states"] = time.monotonic() - began
            self._deploy()
            self.times["upgrade"] = time.monotonic() - began - self.times["states"]
            for upload in (reviewed, publishing, waiting):
                status = self._operator.status(upload.drive)
                self.after[upload.drive] = status
                if status != "RUNNING" and (upload is not publishing or status != "SUCCEEDED"):
                    self._outcome.stuck.append(f"{upload.drive} did not outlive the upgrade: its run is {status}")
        finally:
            faults.disarm()
        self._stage.client("sagemaker").create_endpoint(EndpointName=MODEL, EndpointConfigName=config)
        opened.close()
        self._operator.relabel(published.drive)
        return faults.injected()

    def _deploy(self) -> None:
        log = self._stage.cloud.folder / "logs" / "sam-upgrade.log"
        parameters = {**DEFAULTS, **PARAMETERS}
        cloud, bucket = self._stage.cloud, "deployment-artifacts"
        SamTools.find().deploy(cloud, self._template, log, stack=STACK, parameters=parameters, bucket=bucket)

    def _bring(self, upload: Upload, state: str, reached: Callable[[], bool]) -> None:
        upload.run()
        if not until(reached, _STATE_SECONDS):
            raise InFlight(f"drive {upload.drive} is not {state}: its run is {self._operator.status(upload.drive)!r}")

    def _remove_endpoint(self) -> str:
        sagemaker = self._stage.client("sagemaker")
        config = str(sagemaker.describe_endpoint(EndpointName=MODEL)["EndpointConfigName"])
        sagemaker.delete_endpoint(EndpointName=MODEL)
        return config


def check_out(revision: str, folder: Path) -> Path:
    """Write the files of a revision into a new folder; returns it. UsageError for a revision that git does not know."""
    archive = folder.with_suffix(".tar")
    asked = ["git", "-C", str(PROJECT), "archive", f"--output={archive}", revision]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode:
        raise click.UsageError(f"git has no revision {revision!r}: {done.stderr.strip()}")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--from", "revision", required=True, help="Revision of this repository that is deployed first.")
def main(revision: str) -> None:
    """Upgrade a stack with drives in flight on the embedded cloud, and report what was lost."""
    console = Console(width=None if sys.stdout.isatty() else 180, highlight=False)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    # Built first: it takes minutes, and the drives stay in their states for less.
    console.print("[dim]building the working tree ...[/]")
    template = SamTools.find().build(FOLDER / "built", FOLDER / "logs" / "sam-build.log")
    console.print(f"[dim]building {revision} and deploying it ...[/]")
    with set_stage(FOLDER / "cloud", check_out(revision, FOLDER / "from")) as stage:
        upgrade = Upgrade(stage, template)
        outcome = upgrade.run()
        denials = [line for line in stage.cloud.log.read_text(errors="replace").splitlines() if "denied: " in line]
    for line in (*_lines(outcome, upgrade), *(f"IAM {line}" for line in denials[:10])):
        console.print(line, markup=False)
    if not outcome.good or denials:
        sys.exit(1)


def _lines(outcome: Outcome, upgrade: Upgrade) -> list[str]:
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in upgrade.times.items())
    said = [
        f"{'ok' if outcome.good else 'FAILED'}: {len(outcome.verdicts)} drives, {outcome.frames} frames, "
        f"{outcome.lost} lost, {outcome.doubled} doubled, {outcome.redrives} redrives; {times}, "
        f"in all {outcome.seconds:.0f} s",
        *(f"met: {name}" for name in outcome.injected),
        *(f"after the upgrade {drive} is {status}" for drive, status in upgrade.after.items()),
        *outcome.stuck,
    ]
    for drive, found in outcome.verdicts.items():
        said += [f"{drive}: {problem}" for problem in (*found.lost, *found.doubled, *found.problems)]
    return said


if __name__ == "__main__":
    main()
