"""Runs recover when a message, an answer or a notification is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from autolabel.contracts.drive import FIRST_RUN
from autolabel.contracts.frames import parse_frame_key
from autolabel.contracts.ports import WaitingRun
from autolabel.contracts.units import Unit
from autolabel_cli.operations.interventions import redrive_run
from tests.e2e.pipeline import START, Pipeline, eventually, image

pytestmark = pytest.mark.cloud
MODEL = "choosy.0001"
FRAME = f"front/{START}.png"
NOTHING_SEEN = json.dumps({"normalized_boxes": [], "classes": [], "scores": [], "labels": ["car"]}).encode()


def unit_of(pipeline: Pipeline, drive: str) -> tuple[Unit, str]:
    """The unit of the drive's only frame, and the frame's ETag."""
    key = f"drives/{drive}/{FRAME}"
    (thing,) = pipeline.stack.ingest.list(key)
    return Unit.of(parse_frame_key(key), thing.etag, MODEL), thing.etag


@contextmanager
def waiting_run(pipeline: Pipeline, drive: str) -> Iterator[WaitingRun]:
    """A run of one frame that waits for its answer, since the endpoint is missing until the end of the block."""
    with pipeline.without_endpoint():
        pipeline.upload(drive, {FRAME: image()})
        (waiting,) = eventually(lambda: pipeline.stack.ledger.waiting_runs(drive), "the wait of the run")
        yield waiting


def test_a_run_asks_again_for_a_lost_answer(pipeline: Pipeline) -> None:
    # Given a frame that was answered during the upload, and whose answer is gone
    pipeline.put("lost", FRAME, image())
    answer = unit_of(pipeline, "lost")[0].answer_key(1)
    eventually(lambda: pipeline.stack.labels.exists(answer), "the answer")
    eventually(lambda: not pipeline.stack.ledger.any_pending("lost", [MODEL]), "its notification")
    pipeline.cloud.client("s3").delete_object(Bucket=pipeline.stack.labels.name, Key=answer)
    # When the drive is closed, then its run asks for the frame again
    pipeline.close("lost", cameras={"front": {}})
    assert pipeline.succeed("lost")["frames"]["labelled"] == 1
    assert pipeline.stack.labels.exists(answer)


def test_a_repeated_upload_wakes_a_run_whose_notification_was_lost(pipeline: Pipeline) -> None:
    with waiting_run(pipeline, "untold"):
        unit, etag = unit_of(pipeline, "untold")
        pipeline.stack.labels.write(unit.answer_key(1), NOTHING_SEEN)
        upload = {
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": pipeline.stack.ingest.name},
                "object": {"key": f"drives/untold/{FRAME}", "eTag": etag, "size": len(image())},
            },
        }
        message = {
            "messageId": "1",
            "receiptHandle": "again",
            "body": json.dumps({"Records": [upload]}),
            "attributes": {"ApproximateReceiveCount": "1"},
            "eventSource": "aws:sqs",
        }
        assert pipeline.call("SubmitFunction", {"Records": [message]}) == {"batchItemFailures": []}
        assert pipeline.stack.ledger.pending(unit) is None
        assert pipeline.succeed("untold")["frames"]["labelled"] == 1


def test_an_answer_between_a_pass_and_its_wait_wakes_the_run(pipeline: Pipeline) -> None:
    with waiting_run(pipeline, "between") as waiting:
        unit, _ = unit_of(pipeline, "between")
        pipeline.stack.labels.write(unit.answer_key(1), NOTHING_SEEN)
        pipeline.stack.ledger.settle(unit, None)
        # The wait finds nothing pending, so no later event would wake it
        pipeline.call("ReconcileFunction", {"drive": "between", "run": FIRST_RUN, "token": waiting.token})
        assert pipeline.succeed("between")["frames"]["labelled"] == 1


def test_a_redrive_asks_again_at_once_for_what_a_deleted_endpoint_took(pipeline: Pipeline) -> None:
    with waiting_run(pipeline, "taken"):
        unit, _ = unit_of(pipeline, "taken")
        pending = pipeline.stack.ledger.pending(unit)
        assert pending is not None
        # As if the endpoint had taken it before it was deleted: its deadline is hours away.
        now = time.time()
        pipeline.stack.ledger.mark_invoked(pending, invoked=now - 5, deadline=now + 21_600, location="")
    redrive_run(pipeline.stack, "taken")
    assert pipeline.succeed("taken")["frames"]["labelled"] == 1
    assert pipeline.stack.labels.exists(unit.answer_key(2))
