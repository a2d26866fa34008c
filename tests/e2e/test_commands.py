"""The operators' commands on the embedded cloud, given by a user who has the permissions that the manual lists."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autolabel.contracts.drive import FIRST_RUN, execution_name
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.units import Unit, answers_prefix
from autolabel.verification.jobs import job_name
from tests.e2e.pipeline import START, WANTED_REFUSALS, Pipeline, eventually, image, timestamps
from tools.demo.deployment import PROJECT

pytestmark = pytest.mark.cloud
MODEL = "choosy.0001"
RUN_2 = "0002"


def documented_permissions() -> list[str]:
    manual = (PROJECT / "docs" / "operators" / "permissions.md").read_text()
    section = manual.split("## For operators")[1].split("\n## ")[0]
    return sorted(set(re.findall(r"`(\w+:\w+)`", section)))


@dataclass(frozen=True)
class Terminal:
    """A terminal of somebody who has keys of their own."""

    environment: dict[str, str]

    def give(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "autolabel_cli", *words],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def say(self, *words: str) -> str:
        """What a command prints that must succeed."""
        ended = self.give(*words)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        return ended.stdout

    def ask(self, *words: str) -> dict[str, Any]:
        """What a command prints for programs."""
        said: dict[str, Any] = json.loads(self.say(*words, "--json"))
        return said

    def refused(self, *words: str) -> str:
        ended = self.give(*words)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "Traceback" not in ended.stderr
        return ended.stderr


def allowing(*permissions: str) -> str:
    statement = {"Effect": "Allow", "Action": permissions, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def operator(pipeline: Pipeline) -> Terminal:
    iam = pipeline.cloud.client("iam")
    iam.create_user(UserName="operator")
    iam.put_user_policy(UserName="operator", PolicyName="operate", PolicyDocument=allowing(*documented_permissions()))
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return Terminal({**pipeline.cloud.environment(), **keys, "COLUMNS": "160"})


def frames(count: int) -> dict[str, bytes]:
    return {f"front/{time}.png": image() for time in timestamps(count)}


@contextmanager
def waiting_run(pipeline: Pipeline, drive: str, count: int = 2) -> Iterator[None]:
    """A run that waits for answers, because its endpoint is away until the end of the block."""
    with pipeline.without_endpoint():
        pipeline.upload(drive, frames(count))
        eventually(lambda: pipeline.stack.ledger.waiting_runs(drive), "the wait of the run")
        yield


def answers_written(pipeline: Pipeline, drive: str) -> int:
    """How often an answer was written for a drive, also over an older one."""
    versions = pipeline.cloud.client("s3").list_object_versions(
        Bucket=pipeline.stack.labels.name, Prefix=answers_prefix(drive, MODEL)
    )
    return len(versions.get("Versions", []))


def test_a_run_that_waits_for_an_absent_endpoint_says_so_and_goes_on_once_it_is_back(
    pipeline: Pipeline, operator: Terminal
) -> None:
    with waiting_run(pipeline, "absent"):
        status = operator.ask("status", "absent")
        (model,) = status["run"]["models"]
        assert (model["endpoint"], model["endpoint_state"]) == ("choosy", "missing")
        assert model["queued"] + model["parked"] + model["overdue"] == 2
        assert status["waits_for"] == ["endpoint choosy, which is missing: 2 units are pending"]
        assert status["next"] == "restore endpoint choosy (it is missing); the run then continues by itself"
        assert "next: restore endpoint choosy" in operator.say("status", "absent")
        # A look that is asked for changes nothing and does no harm
        assert operator.ask("redrive", "absent")["outcome"] in ("woken", "running")
    pipeline.succeed("absent")
    status = operator.ask("status", "absent")
    assert (status["run"]["execution"]["status"], status["waits_for"]) == ("SUCCEEDED", [])
    assert status["next"].startswith("nothing; autolabel fetch absent --to FOLDER downloads the dataset")
    assert operator.ask("redrive", "absent")["outcome"] == "nothing"


def test_a_run_that_was_stopped_half_way_goes_on_where_it_was(pipeline: Pipeline, operator: Terminal) -> None:
    with waiting_run(pipeline, "halted"):
        assert operator.ask("stop", "halted")["outcome"] == "stopped"
        assert operator.ask("stop", "halted")["outcome"] == "ended"
        status = operator.ask("status", "halted")
        assert status["waits_for"] == ["an operator: run 0001 was stopped in AwaitInference"]
        assert ":user/operator" in status["run"]["execution"]["error"]
        assert status["next"] == "restore endpoint choosy (it is missing), then autolabel redrive halted"
    assert operator.ask("status", "halted")["next"] == "autolabel redrive halted, to resume the run"
    assert operator.ask("redrive", "halted")["outcome"] == "redriven"
    assert operator.ask("redrive", "halted")["outcome"] in ("woken", "running", "nothing")
    pipeline.succeed("halted")
    assert operator.ask("status", "halted")["run"]["execution"]["redrives"] == 1


def test_a_failed_labelling_job_that_is_redriven_twice_is_made_again_once(
    pipeline: Pipeline, operator: Terminal
) -> None:
    pipeline.upload("stopped-by-hand", frames(2))
    stem = job_name(pipeline.stack.labels.name, "stopped-by-hand", FIRST_RUN, 0)
    reviewers = eventually(
        lambda: [job for job in operator.ask("status", "stopped-by-hand")["waits_for"] if stem in job], "the job", 90
    )
    assert reviewers == [f"reviewers: 2 frames of labelling job {stem}-1 are not labelled"]
    pipeline.cloud.client("sagemaker").stop_labeling_job(LabelingJobName=f"{stem}-1")
    assert pipeline.end("stopped-by-hand").status == "FAILED"
    status = operator.ask("status", "stopped-by-hand")
    assert [(job["job"], job["status"]) for job in status["run"]["jobs"]] == [(f"{stem}-1", "Stopped")]
    assert status["waits_for"] == ["an operator: run 0001 failed in FailedJobs"]
    assert "LabelingFailed: " in status["run"]["execution"]["error"]
    assert status["next"] == "fix the cause, then autolabel redrive stopped-by-hand"
    assert operator.ask("redrive", "stopped-by-hand")["outcome"] == "redriven"
    assert operator.ask("redrive", "stopped-by-hand")["outcome"] in ("running", "nothing")
    summary = pipeline.succeed("stopped-by-hand")
    assert [job["job"] for job in summary["verification"]] == [f"{stem}-2"]
    assert [job["job"] for job in operator.ask("status", "stopped-by-hand")["run"]["jobs"]] == [f"{stem}-2"]


def test_a_message_that_was_buried_tells_why_and_is_moved_back_once_its_cause_is_mended(
    pipeline: Pipeline, operator: Terminal
) -> None:
    # Given a record in the ledger that submit cannot read
    frame, etag = FrameKey("buried", "front", str(START), "png"), hashlib.md5(image(), usedforsecurity=False)
    unit = Unit.of(frame, etag.hexdigest(), MODEL)
    place: Any = {"pk": {"S": f"pending#buried#{unit.partition}"}, "sk": {"S": unit.place}}
    table = pipeline.stack.outputs["LedgerName"]
    pipeline.cloud.client("dynamodb").put_item(TableName=table, Item=place)
    # When its frame is uploaded, and submit has given up on it
    pipeline.put("buried", f"front/{START}.png", image())

    def letters() -> dict[str, Any]:
        found: dict[str, Any] = operator.ask("status", "buried")["dead_letters"][0]
        return found

    eventually(lambda: letters()["messages"], "the burial", 60)
    # Then the status of its drive tells why, and takes nothing away
    assert letters() == {"queue": "submit", "messages": 1, "of_drive": 1, "reasons": {"KeyError: 'key'": 1}}
    assert letters()["messages"] == 1
    status = operator.ask("status", "buried")
    assert status["next"] == "fix the cause of its dead letters, then autolabel redrive --queue submit"
    # And once a person has mended that, it is moved back and worked on
    pipeline.cloud.client("dynamodb").delete_item(TableName=table, Key=place)
    moved = operator.ask("redrive", "--queue", "submit")
    assert moved == {"queue": "submit", "outcome": "moved", "moved": 1, "reasons": {"KeyError: 'key'": 1}}
    eventually(lambda: pipeline.stack.labels.exists(unit.answer_key(1)), "the answer")
    assert operator.say("redrive", "--queue", "submit") == "there are no submit dead letters\n"
    assert operator.say("redrive", "--queue", "collect") == "there are no collect dead letters\n"
    pipeline.close("buried", cameras={"front": {}})
    pipeline.succeed("buried")


def test_a_drive_is_labelled_again_with_the_answers_that_are_there(
    pipeline: Pipeline, operator: Terminal, tmp_path: Path
) -> None:
    drive, (first, second, late) = "again", timestamps(3)
    pipeline.upload(drive, {f"front/{first}.png": image(), f"front/{second}.png": image()})
    pipeline.succeed(drive)
    assert answers_written(pipeline, drive) == 2
    # Nothing has changed: the new run costs no inference
    assert operator.ask("relabel", drive)["run"] == RUN_2
    assert "SUCCEEDED" in operator.say("watch", drive, "--run", RUN_2)
    assert answers_written(pipeline, drive) == 2
    # A frame comes late, another is overwritten: the schedule tells of both
    pipeline.put(drive, f"front/{late}.png", image())
    pipeline.put(drive, f"front/{second}.png", image(645))
    eventually(lambda: answers_written(pipeline, drive) == 4 or None, "their answers")
    assert operator.ask("status", drive)["run"]["changes"]["more"]
    pipeline.call("SweepFunction", {})
    status = operator.ask("status", drive)
    changes = {"late": 1, "overwritten": 1, "deleted": 0, "more": None}
    assert (status["run"]["run"], status["run"]["changes"]) == (RUN_2, changes)
    assert status["next"] == "autolabel relabel again: a new run takes in what came or changed after this one began"
    # Labelled again, they are in the dataset, and the runs before stay as they were
    assert operator.ask("relabel", drive)["run"] == "0003"
    operator.say("watch", drive)
    assert answers_written(pipeline, drive) == 4
    operator.say("fetch", drive, "--to", str(tmp_path))
    assert json.loads((tmp_path / "summary.json").read_text())["frames"]["labelled"] == 3
    assert [run["execution"]["status"] for run in operator.ask("status", drive)["runs"]] == ["SUCCEEDED"] * 3
    assert operator.ask("status", drive, "--run", FIRST_RUN)["run"]["frames"] == 2


def test_a_running_drive_is_not_labelled_again_and_an_older_run_is_not_redriven(
    pipeline: Pipeline, operator: Terminal
) -> None:
    with waiting_run(pipeline, "older", 1):
        assert "autolabel stop older first" in operator.refused("relabel", "older")
        operator.say("stop", "older")
        assert operator.ask("relabel", "older")["run"] == RUN_2
        assert "followed by run 0002" in operator.refused("redrive", "older", "--run", FIRST_RUN)
    assert "SUCCEEDED" in operator.say("watch", "older")
    arn = pipeline.stack.execution_arn(execution_name("older", FIRST_RUN))
    described = pipeline.cloud.client("stepfunctions").describe_execution(executionArn=arn)
    assert described["status"] == "ABORTED"


def test_a_drive_that_nobody_closes_is_closed_by_the_schedule(pipeline: Pipeline, operator: Terminal) -> None:
    pipeline.put("forgotten", f"front/{START}.png", image())
    status = operator.ask("status", "forgotten")
    assert (status["upload"]["objects"], status["upload"]["document"], status["runs"]) == (1, "none", [])
    assert status["next"].startswith("wait for frames, or upload drive.json; if neither comes, the sweep closes it")
    assert "waits for its drive.json" in operator.refused("redrive", "forgotten")
    assert "waits for its drive.json" in operator.refused("relabel", "forgotten")

    def closed() -> Any:
        pipeline.call("SweepFunction", {})
        return operator.ask("status", "forgotten")["runs"]

    eventually(closed, "the end of the drive by the schedule", 60)
    assert any("closed by schedule" in note for note in pipeline.succeed("forgotten")["notes"])


def test_a_refused_document_is_what_its_drive_waits_for(pipeline: Pipeline, operator: Terminal) -> None:
    pipeline.put("unreadable", f"front/{START}.png", image())
    pipeline.put("unreadable", "drive.json", b"{")

    def refused() -> dict[str, Any] | None:
        status = operator.ask("status", "unreadable")
        return status if status["upload"]["document"] == "refused" else None

    status = eventually(refused, "the refusal")
    assert "drives/unreadable/drive.json is not JSON" in status["waits_for"][0]
    assert status["next"] == "upload a valid drive.json; it closes the drive"
    pipeline.close("unreadable", cameras={"front": {}})
    pipeline.succeed("unreadable")


def test_what_nobody_knows_is_an_error_that_names_it(operator: Terminal) -> None:
    assert "has no drive 'ghost'" in operator.refused("status", "ghost", "--json")
    assert "is not a valid drive name" in operator.refused("status", "../ghost")
    assert "has no drive 'ghost'" in operator.refused("redrive", "ghost")
    assert "stack 'elsewhere' does not exist" in operator.refused("status", "ghost", "--stack", "elsewhere")
    assert operator.give("redrive").returncode == 2


def test_who_lacks_a_permission_is_told_which(pipeline: Pipeline) -> None:
    iam, account = pipeline.cloud.client("iam"), {"AWS": "arn:aws:iam::000000000000:root"}
    trust = {"Effect": "Allow", "Principal": account, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="guest", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    iam.put_role_policy(RoleName="guest", PolicyName="look", PolicyDocument=allowing("cloudformation:DescribeStacks"))
    taken = pipeline.cloud.client("sts").assume_role(RoleArn=role, RoleSessionName=WANTED_REFUSALS)["Credentials"]
    keys = {
        "AWS_ACCESS_KEY_ID": taken["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": taken["SecretAccessKey"],
        "AWS_SESSION_TOKEN": taken["SessionToken"],
    }
    guest = Terminal({**pipeline.cloud.environment(), **keys})
    assert "lacks dynamodb:Query" in guest.refused("status", "guest")
