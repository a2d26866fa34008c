"""`logs`, `report`, `doctor` and `forget` on the embedded cloud, by users with only the permissions of the manual."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.pipeline import Pipeline, image, timestamps
from tests.e2e.terminal import Terminal, documented_permissions, terminal_of_user

pytestmark = pytest.mark.cloud
DRIVE, OTHER = "watched", "watched-2"
BASE = ("cloudformation:DescribeStacks", "dynamodb:GetItem", "dynamodb:Query", "states:DescribeExecution")


@pytest.fixture(scope="module")
def watcher(pipeline: Pipeline) -> Terminal:
    return terminal_of_user(pipeline, "watcher", documented_permissions("For operators"))


@pytest.fixture(scope="module", autouse=True)
def drives(pipeline: Pipeline, watcher: Terminal) -> None:
    for drive in (DRIVE, OTHER):
        pipeline.upload(drive, {f"front/{time}.png": image() for time in timestamps(2)})
    pipeline.upload("followed", {f"front/{time}.png": image() for time in timestamps(1)})


def test_following_the_log_of_a_drive_ends_with_its_run(pipeline: Pipeline, watcher: Terminal) -> None:
    followed = watcher.say("logs", "followed", "--follow", "--json")
    lines = [json.loads(line) for line in followed.splitlines()]
    assert ("publish", "published") in [(line["source"], line["message"]) for line in lines]
    assert pipeline.end("followed").status == "SUCCEEDED"


def test_the_log_of_a_drive_has_the_lines_of_its_functions_in_order(pipeline: Pipeline, watcher: Terminal) -> None:
    pipeline.succeed(DRIVE)
    pipeline.succeed(OTHER)
    found = watcher.ask("logs", DRIVE)
    times = [line["at"] for line in found["lines"]]
    assert times == sorted(times)
    assert {"verify", "publish"} <= {line["source"] for line in found["lines"]}
    assert OTHER not in json.dumps(found["lines"])
    assert " publish      INFO     published" in watcher.say("logs", DRIVE, "--run", "0001")
    sources = {line["source"] for line in watcher.ask("logs", DRIVE, "--level", "DEBUG")["lines"]}
    assert "reconcile" in sources or "submit" in sources


def test_the_report_of_a_drive_is_written_with_its_pictures(watcher: Terminal, tmp_path: Path) -> None:
    watcher.say("report", DRIVE, "--to", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert watcher.ask("report", DRIVE)["frames"]["labelled"] == 2


def test_the_doctor_finds_the_stack_healthy_and_an_alarm_arrives(pipeline: Pipeline, watcher: Terminal) -> None:
    said = watcher.ask("doctor", "--fire")
    verdicts = {(one["check"], one["verdict"]) for one in said["findings"]}
    assert said["healthy"], said["findings"]
    for check in ("stack", "permissions", "reviewers", "buckets", "queues", "endpoints", "ops topic", "alarms"):
        assert (check, "ok") in verdicts, said["findings"]
    assert ("fired alarm", "ok") in verdicts, said["findings"]
    # The embedded cloud has no Service Quotas; that is not a fault of the stack.
    assert {check for check, verdict in verdicts if verdict == "unknown"} <= {"quotas"}
    assert "autolabel doctor --fire by" in pipeline.told_ops("autolabel doctor --fire by")


def test_a_load_is_planned_with_the_endpoint_as_it_is(watcher: Terminal) -> None:
    planned = watcher.ask("capacity", "--frames-per-hour", "360000", "--seconds", "choosy=0.1")
    (need,) = planned["models"]
    assert (need["endpoint"], need["instances"]) == ("choosy", -(-100 * 0.1 // (need["at_once"] * 0.7)))
    assert planned["quotas"][0].startswith("Lambda, Concurrent executions")


def test_a_forgotten_drive_leaves_nothing_and_others_everything(pipeline: Pipeline, watcher: Terminal) -> None:
    eraser = terminal_of_user(pipeline, "eraser", [*BASE, *documented_permissions("For erasing")])
    others = _stored(pipeline, OTHER)
    receipt = eraser.ask("forget", DRIVE, "--yes")
    assert receipt["complete"], receipt
    assert {one["what"] for one in receipt["erased"]} >= {"object versions", "items"}
    assert _stored(pipeline, DRIVE) == []
    assert _stored(pipeline, OTHER) == others
    assert f"has no drive '{DRIVE}'" in watcher.refused("status", DRIVE)
    assert eraser.ask("forget", DRIVE, "--yes")["erased"] == []


def _stored(pipeline: Pipeline, drive: str) -> list[str]:
    """The object versions and ledger items of a drive, and not those of a drive with a longer name."""
    s3, found = pipeline.cloud.client("s3"), list[str]()
    for bucket in (pipeline.stack.ingest, pipeline.stack.labels):
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket.name):
            things = page.get("Versions", []) + page.get("DeleteMarkers", [])
            found += [f"{thing['Key']} {thing['VersionId']}" for thing in things]
    table = pipeline.stack.outputs["LedgerName"]
    for page in pipeline.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table):
        found += [json.dumps([item["pk"], item["sk"]]) for item in page["Items"]]
    return sorted(text for text in found if drive in text and (OTHER in text) == (drive == OTHER))
