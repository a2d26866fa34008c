"""The operators' commands on the embedded cloud, by a user with only the permissions that the manual lists."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autolabel.contracts.drive import FIRST_RUN, execution_name
from autolabel.contracts.frames import FrameKey
from autolabel.contracts.units import Unit, answers_prefix
from autolabel.verification.jobs import job_name
from tests.e2e.pipeline import START, WANTED_REFUSALS, Pipeline, eventually, image, timestamps
from tests.e2e.terminal import Terminal, allowing, documented_permissions, terminal_of_user

pytestmark = pytest.mark.cloud
RESTORE = "autolabel models restore choosy@0001 (its endpoint choosy is missing)"
MODEL = "choosy.0001"
RUN_2 = "0002"


@pytest.fixture(scope="module")
def operator(pipeline: Pipeline) -> Terminal:
    return terminal_of_user(pipeline, "operator", documented_permissions("For operators"))


def frames(count: int) -> dict[str, bytes]:
    return {f"front/{time}.png": image() for time in timestamps(count)}


@contextmanager
def waiting_run(pipeline: Pipeline, drive: str, count: int = 2) -> Iterator[None]:
    """A run that waits for answers, since its endpoint is missing until the end of the block."""
    with pipeline.without_endpoint():
        pipeline.upload(drive, frames(count))
        eventually(lambda: pipeline.stack.ledger.waiting_runs(drive), "the wait of the run")
        yield


def answers_written(pipeline: Pipeline, drive: str) -> int:
    """How many answers were written for a drive, overwritten ones included."""
    versions = pipeline.cloud.client("s3").list_object_versions(
        Bucket=pipeline.stack.labels.name, Prefix=answers_prefix(drive, MODEL)
    )
    return len(versions.get("Versions", []))


def test_a_run_that_waits_for_a_missing_endpoint_names_it(pipeline: Pipeline, operator: Terminal) -> None:
    with waiting_run(pipeline, "absent"):
        status = operator.ask("status", "absent")
        (model,) = status["run"]["models"]
        assert (model["endpoint"], model["endpoint_state"]) == ("choosy", "missing")
        assert model["queued"] + model["parked"] + model["overdue"] == 2
        (waits_for,) = status["waits_for"]
        assert waits_for.startswith(
            "endpoint choosy, which is missing: 2 units are pending; they wait until it is back"
        )
        assert status["next"] == f"{RESTORE}; the run then continues by itself"
        assert "next: autolabel models restore choosy@0001" in operator.say("status", "absent")
        # The list says so too
        listed = {entry["drive"]: entry for entry in operator.ask("list", "--waiting")["drives"]}
        assert (listed["absent"]["status"], listed["absent"]["frames"]) == ("RUNNING", 2)
        # It says what the latest reconcile pass found, and a pass looks at the endpoint once units are overdue.
        eventually(lambda: "endpoint choosy is missing" in operator.say("list"), "a pass that misses the endpoint", 60)
        listed = {entry["drive"]: entry for entry in operator.ask("list", "--waiting")["drives"]}
        assert listed["absent"]["waits_for"] == [f"{MODEL}: endpoint choosy is missing"]
        assert f"{MODEL}: endpoint choosy is missing" in operator.say("list")
        # A redrive while the endpoint is missing does no harm
        assert operator.ask("redrive", "absent")["outcome"] in ("woken", "running")
    pipeline.succeed("absent")
    status = operator.ask("status", "absent")
    assert (status["run"]["execution"]["status"], status["waits_for"]) == ("SUCCEEDED", [])
    assert status["next"].startswith("nothing; autolabel fetch absent --to FOLDER downloads the dataset")
    assert operator.ask("redrive", "absent")["outcome"] == "nothing"


def test_a_stopped_run_goes_on_where_it_stopped(pipeline: Pipeline, operator: Terminal) -> None:
    with waiting_run(pipeline, "halted"):
        assert "halted" not in [entry["drive"] for entry in operator.ask("list", "--failed")["drives"]]
        assert operator.ask("stop", "halted")["outcome"] == "stopped"
        assert operator.ask("stop", "halted")["outcome"] == "ended"
        status = operator.ask("status", "halted")
        assert status["waits_for"] == ["an operator: run 0001 was stopped in AwaitInference"]
        assert "an operator: run 0001 was stopped in AwaitInference" in operator.say("list", "--failed")
        assert ":user/operator" in status["run"]["execution"]["error"]
        assert status["next"] == f"{RESTORE}, then autolabel redrive halted"
    assert operator.ask("status", "halted")["next"] == "autolabel redrive halted, to resume the run"
    assert operator.ask("redrive", "halted")["outcome"] == "redriven"
    assert operator.ask("redrive", "halted")["outcome"] in ("woken", "running", "nothing")
    pipeline.succeed("halted")
    assert operator.ask("status", "halted")["run"]["execution"]["redrives"] == 1


def test_a_failed_labelling_job_redriven_twice_is_repeated_once(pipeline: Pipeline, operator: Terminal) -> None:
    pipeline.upload("stopped-by-hand", frames(2))
    stem = job_name(pipeline.stack.labels.name, "stopped-by-hand", FIRST_RUN, 0)
    reviewers = eventually(
        lambda: [job for job in operator.ask("status", "stopped-by-hand")["waits_for"] if stem in job], "the job", 90
    )
    assert reviewers == [f"reviewers in work team autolabel: 0 of 2 frames done (labelling job {stem}-1)"]
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


def test_a_dead_letter_shows_its_reason_and_can_be_moved_back(pipeline: Pipeline, operator: Terminal) -> None:
    # Given a record in the ledger that submit cannot read
    frame, etag = FrameKey("buried", "front", str(START), "png"), hashlib.md5(image(), usedforsecurity=False)
    unit = Unit.of(frame, etag.hexdigest(), MODEL)
    place: Any = {"pk": {"S": f"pending#buried#{unit.partition}"}, "sk": {"S": unit.place}}
    table = pipeline.stack.outputs["LedgerName"]
    pipeline.cloud.client("dynamodb").put_item(TableName=table, Item=place)
    # When its frame is uploaded, and submit gives up on it
    pipeline.put("buried", f"front/{START}.png", image())

    def letters() -> dict[str, Any]:
        found: dict[str, Any] = operator.ask("status", "buried")["dead_letters"][0]
        return found

    eventually(lambda: letters()["messages"], "the dead letter", 60)
    # Then the status of its drive shows the reason, and the message stays
    assert letters() == {"queue": "submit", "messages": 1, "of_drive": 1, "reasons": {"KeyError: 'key'": 1}}
    assert letters()["messages"] == 1
    status = operator.ask("status", "buried")
    assert status["next"] == "fix the cause of its dead letters, then autolabel redrive --queue submit"
    # When the cause is fixed, the message is moved back and taken
    pipeline.cloud.client("dynamodb").delete_item(TableName=table, Key=place)
    moved = operator.ask("redrive", "--queue", "submit")
    assert moved == {"queue": "submit", "outcome": "moved", "moved": 1, "reasons": {"KeyError: 'key'": 1}}
    eventually(lambda: pipeline.stack.labels.exists(unit.answer_key(1)), "the answer")
    assert operator.say("redrive", "--queue", "submit") == "the submit dead-letter queue is empty\n"
    assert operator.say("redrive", "--queue", "collect") == "the collect dead-letter queue is empty\n"
    pipeline.close("buried", cameras={"front": {}})
    pipeline.succeed("buried")


def test_a_drive_is_labelled_again_from_its_existing_answers(
    pipeline: Pipeline, operator: Terminal, tmp_path: Path
) -> None:
    drive, (first, second, late) = "again", timestamps(3)
    pipeline.upload(drive, {f"front/{first}.png": image(), f"front/{second}.png": image()})
    pipeline.succeed(drive)
    assert answers_written(pipeline, drive) == 2
    # Nothing changed: the new run needs no inference
    assert operator.ask("relabel", drive)["run"] == RUN_2
    assert "SUCCEEDED" in operator.say("watch", drive, "--run", RUN_2)
    assert answers_written(pipeline, drive) == 2
    # A frame comes late, another is overwritten: the status shows both at once, and the sweep records them
    pipeline.put(drive, f"front/{late}.png", image())
    pipeline.put(drive, f"front/{second}.png", image(645))
    eventually(lambda: answers_written(pipeline, drive) == 4 or None, "their answers")
    changes = {"late": 1, "overwritten": 1, "deleted": 0, "more": None}
    assert operator.ask("status", drive)["run"]["changes"] == changes
    pipeline.call("SweepFunction", {})
    status = operator.ask("status", drive)
    assert (status["run"]["run"], status["run"]["changes"]) == (RUN_2, changes)
    assert status["next"] == "autolabel relabel again: a new run takes in what came or changed after this one began"
    # The next run has both in its dataset, and the earlier runs stay as they are
    assert operator.ask("relabel", drive)["run"] == "0003"
    operator.say("watch", drive)
    assert answers_written(pipeline, drive) == 4
    operator.say("fetch", drive, "--to", str(tmp_path))
    assert json.loads((tmp_path / "summary.json").read_text())["frames"]["labelled"] == 3
    assert [run["execution"]["status"] for run in operator.ask("status", drive)["runs"]] == ["SUCCEEDED"] * 3
    assert operator.ask("status", drive, "--run", FIRST_RUN)["run"]["frames"] == 2


def test_running_drives_are_not_relabelled_nor_older_runs_redriven(pipeline: Pipeline, operator: Terminal) -> None:
    with waiting_run(pipeline, "older", 1):
        assert "stop it first: autolabel stop older" in operator.refused("relabel", "older")
        operator.say("stop", "older")
        assert operator.ask("relabel", "older")["run"] == RUN_2
        assert "followed by run 0002" in operator.refused("redrive", "older", "--run", FIRST_RUN)
    assert "SUCCEEDED" in operator.say("watch", "older")
    arn = pipeline.stack.execution_arn(execution_name("older", FIRST_RUN))
    described = pipeline.cloud.client("stepfunctions").describe_execution(executionArn=arn)
    assert described["status"] == "ABORTED"


def test_the_sweep_closes_an_abandoned_drive(pipeline: Pipeline, operator: Terminal) -> None:
    pipeline.put("forgotten", f"front/{START}.png", image())
    status = operator.ask("status", "forgotten")
    assert (status["upload"]["objects"], status["upload"]["document"], status["runs"]) == (1, "none", [])
    assert status["next"].startswith("wait for frames, or upload drive.json; if neither comes, the sweep closes it")
    assert "waits for its drive.json" in operator.refused("redrive", "forgotten")
    assert "waits for its drive.json" in operator.refused("relabel", "forgotten")

    def closed() -> Any:
        pipeline.call("SweepFunction", {})
        return operator.ask("status", "forgotten")["runs"]

    eventually(closed, "the end of the drive by the sweep", 60)
    assert any("closed by the sweep" in note for note in pipeline.succeed("forgotten")["notes"])


def test_a_drive_with_a_refused_document_waits_for_a_good_one(pipeline: Pipeline, operator: Terminal) -> None:
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


def test_unknown_names_are_errors_that_repeat_them(operator: Terminal) -> None:
    assert "has no drive 'ghost'" in operator.refused("status", "ghost", "--json")
    assert "is not a valid drive name" in operator.refused("status", "../ghost")
    assert "has no drive 'ghost'" in operator.refused("redrive", "ghost")
    assert "stack 'elsewhere' does not exist" in operator.refused("status", "ghost", "--stack", "elsewhere")
    assert operator.give("redrive").returncode == 2


def test_the_error_of_a_missing_permission_names_it(pipeline: Pipeline) -> None:
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
