"""assemble: joins a run's shards into the manifests of its verification jobs, its summary and its report."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import msgspec
from aws_lambda_powertools.metrics import MetricUnit

from autolabel.aws import Adapters, answer, logger, metrics, name_drive, read_settings, tracer
from autolabel.contracts.errors import LabelingFailed
from autolabel.datasets import assemble_run, plan_cuboid_jobs
from autolabel.verification import BackEnds

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from autolabel.aws import Answer, Event


class Settings(msgspec.Struct, frozen=True):
    """`back_end`: for drives that name none; `workteam_arn`: of Ground Truth, in the stack's `region`;
    `label_studio_connection`: empty without a server; `max_job_objects`: the most frames in one verification job;
    `strip_frames`: in one strip, of jobs of tracks."""

    ingest_bucket: str
    label_bucket: str
    ledger_table: str
    back_end: str
    workteam_arn: str
    region: str
    max_job_objects: int
    strip_frames: int
    ops_topic_arn: str
    label_studio_connection: str = ""


class Request(msgspec.Struct, frozen=True):
    """`failed`: the run's labelling jobs that ended without labels; `unreadable`: whether S3 did not give out most of
    its frames; `redriven`: an operator redrove the run since. `cuboids`: make the jobs of the run's cuboids."""

    drive: str
    run: str
    failed: tuple[str, ...] = ()
    unreadable: bool = False
    redriven: bool = False
    cuboids: bool = False


settings = read_settings(Settings, os.environ)
adapters = Adapters(settings)


def assemble(request: Request) -> msgspec.Struct:
    """Assemble the run; a repeated call writes the same objects again."""
    assembly = assemble_run(
        adapters.ledger.run(request.drive, request.run),
        ingest=adapters.ingest,
        label_bucket=adapters.label_bucket,
        ledger=adapters.ledger,
        announcements=adapters.operators,
        back_ends=BackEnds(
            settings.back_end, settings.workteam_arn, settings.region, bool(settings.label_studio_connection)
        ),
        max_objects=settings.max_job_objects,
        strip_frames=settings.strip_frames,
    )
    frames = assembly.frames
    metrics.add_metric("RunDollars", MetricUnit.NoUnit, assembly.dollars)
    metrics.add_metric("RejectedPercent", MetricUnit.Percent, 100 * frames.rejected / max(1, frames.uploaded))
    return assembly


def fail(request: Request) -> NoReturn:
    """Fail the run with the jobs that ended without labels."""
    metrics.add_metric("JobsFailed", MetricUnit.Count, len(request.failed))
    raise LabelingFailed("; ".join(request.failed))


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
@metrics.log_metrics
def handler(event: Event, context: LambdaContext) -> Answer:
    request = msgspec.convert(event, Request)
    name_drive(request.drive)
    if request.failed and not request.redriven:
        fail(request)
    if request.unreadable and request.redriven:
        # The run's shards are labelled again before they are assembled.
        return {}
    if request.cuboids:
        run = adapters.ledger.run(request.drive, request.run)
        return answer(plan_cuboid_jobs(run, adapters.label_bucket, settings.workteam_arn))
    return answer(assemble(request))
