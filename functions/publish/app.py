"""publish: joins the reviewers' labels with the drive's frames into its dataset, part by part, and announces it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from autolabel.aws import Adapters, answer, logger, metrics, name_drive, read_settings, tracer
from autolabel.datasets import FinishedJob, Part, plan_publication, publish_part, publish_run

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event
    from autolabel.contracts.drive import Run
    from autolabel.datasets import Publication


class Settings(msgspec.Struct, frozen=True):
    """`part_frames`: the most frames in a part, beyond one shard."""

    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    ops_topic_arn: str
    part_frames: int


class Request(msgspec.Struct, frozen=True):
    """`plan`: only plan the parts of the dataset; `part`: write only this one. `jobs`: of the run, without a `part`."""

    drive: str
    run: str
    jobs: tuple[FinishedJob, ...] = ()
    plan: bool = False
    part: Part | None = None


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


def publish(run: Run, jobs: tuple[FinishedJob, ...]) -> Publication:
    """Publish the run; a repeated call writes the same objects again."""
    publication = publish_run(
        run,
        jobs,
        ingest=adapters.ingest,
        label_bucket=adapters.label_bucket,
        ledger=adapters.ledger,
        announcements=adapters.announcements,
        now=time.time(),
        part_frames=settings.part_frames,
    )
    logger.info("published", extra={"publication": answer(publication)})
    return publication


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    name_drive(request.drive)
    run = adapters.ledger.run(request.drive, request.run)
    if request.part:
        return answer(publish_part(run, request.part, adapters.label_bucket))
    if request.plan:
        return answer(plan_publication(run, request.jobs, adapters.label_bucket, settings.part_frames))
    return answer(publish(run, request.jobs))
