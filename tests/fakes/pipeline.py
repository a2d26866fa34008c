"""The whole domain over fakes: a test makes each step of the functions and the state machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote_plus

import msgspec

from autolabel.contracts.drive import Run, execution_name
from autolabel.contracts.verification import REVIEW_CHANGED, SEGMENTS, ReviewChoice, is_redrawn
from autolabel.datasets.assembly import Assembly, assemble_run
from autolabel.datasets.earlier_runs import TakeOver, take_over_earlier_runs
from autolabel.datasets.publication import Publication, publish_run
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.drives.closing import Closing
from autolabel.drives.drive_logs import DriveLogs
from autolabel.drives.sweep import Sweep, SweepReport
from autolabel.inference.completion import Completion, Settled, wake_if_done
from autolabel.inference.reconcile_pass import PassProgress, PassReport, ReconcilePasses, await_answers
from autolabel.inference.reconciliation import Limits
from autolabel.inference.submission import Asked, ObjectEvent, Submission, Submitted, read_message
from autolabel.labelling.label_shard import ShardLabelling
from autolabel.labelling.plan import Plan, plan_run
from autolabel.labelling.shards import read_shards
from autolabel.models.catalogue import Catalogue, Model
from autolabel.sequences.run_links import LinkCursor, link_run
from autolabel.verification.attempts import PATIENCE_SECONDS
from autolabel.verification.jobs import GROUND_TRUTH, BackEnds, JobRound, VerificationJob
from autolabel.verification.settlement import Settled as SettledRound
from autolabel.verification.settlement import settle_round
from autolabel.verification.takeover import Projects
from tests.fakes.announcements import FakeAnnouncements
from tests.fakes.answers import DETECTOR, add_to_catalogue
from tests.fakes.bucket import FakeBucket, etag_of
from tests.fakes.endpoints import FakeEndpoints
from tests.fakes.executions import FakeExecutions, FakeExtractions
from tests.fakes.faults import Fuse, fused
from tests.fakes.images import png
from tests.fakes.labeling_jobs import FakeLabelingJobs
from tests.fakes.ledger import FakeLedger
from tests.fakes.queue import FakeSubmitQueue

DRIVE = "drive-7"
JOB_LABELS = ("car", "truck", "bicycle", "person")
LIMITS = Limits(unsubmitted_after=3_600.0, max_unanswered=3, max_failed_percent=50.0)
MAX_ERRORS = 2
MAX_ANSWER_WAIT = 86_400.0
FRAMES_PATIENCE = 600.0
ABANDONED_AFTER = 7_200.0
LOGS_QUIET = 3_600.0
UNHEARD_AFTER = 900.0
WORKTEAM = "arn:aws:sagemaker:eu-central-1:123456789012:workteam/private-crowd/labellers"
# Turns the lines of a round into the lines that reviewers leave.
Answers = Callable[[list[bytes]], list[bytes]]


def frame_key(index: int, *, drive: str = DRIVE, camera: str = "front", extension: str = "png") -> str:
    return f"drives/{drive}/{camera}/{1_700_000_000_000_000_000 + index}.{extension}"


def drive_document(*cameras: str, **more: Any) -> bytes:
    return msgspec.json.encode({"vehicle": "car-1", "cameras": {name: {} for name in cameras or ("front",)}, **more})


class Pipeline:
    """The fakes with the domain on top. `now` is the clock. Nothing happens by itself."""

    def __init__(self, *models: Model, honours_names: bool = True, drive: str = DRIVE) -> None:
        self.drive = drive
        self.now = 1_000.0
        self.workers = 1
        self.waits = 0
        self.privacy = False
        self.ingest = FakeBucket("ingest")
        self.labels = FakeBucket("labels")
        self.ledger = FakeLedger()
        self.queue = FakeSubmitQueue()
        self.endpoints = FakeEndpoints(self.labels, honours_names=honours_names)
        self.executions = FakeExecutions()
        self.extractions = FakeExtractions()
        self.jobs = FakeLabelingJobs(self.labels)
        self.projects: Projects | None = None
        self.announcements = FakeAnnouncements()
        self.back_ends = BackEnds(GROUND_TRUTH, WORKTEAM, "eu-central-1", label_studio=False)
        add_to_catalogue(self.labels, *(models or (DETECTOR,)))

    def upload(self, key: str, body: bytes) -> ObjectEvent:
        """Put an object; returns the event that S3 reports."""
        self.ingest.now = self.now
        self.ingest.write(key, body)
        return ObjectEvent("ingest", key, etag_of(body), len(body))

    def catalogue(self) -> Catalogue:
        """A new reader of the catalogue, as each call of a function has one."""
        return Catalogue(self.labels.read, lambda: self.now)

    def closing(self, fuse: Fuse | None = None) -> Closing:
        return Closing(
            ingest=fused(self.ingest, fuse),
            label_bucket=fused(self.labels, fuse),
            ledger=fused(self.ledger, fuse),
            catalogue=self.catalogue(),
            executions=fused(self.executions, fuse),
            announcements=fused(self.announcements, fuse),
            job_labels=JOB_LABELS,
            privacy=self.privacy,
            now=lambda: self.now,
        )

    def drive_logs(self, fuse: Fuse | None = None) -> DriveLogs:
        return DriveLogs(
            ingest=fused(self.ingest, fuse),
            ledger=fused(self.ledger, fuse),
            extractions=fused(self.extractions, fuse),
            announcements=fused(self.announcements, fuse),
            quiet_after=LOGS_QUIET,
            abandoned_after=ABANDONED_AFTER,
            now=lambda: self.now,
        )

    def submission(self, fuse: Fuse | None = None) -> Submission:
        """A new submit function; with a fuse, it crashes before one of its operations."""
        return Submission(
            ingest=fused(self.ingest, fuse),
            label_bucket=fused(self.labels, fuse),
            ledger=fused(self.ledger, fuse),
            catalogue=self.catalogue(),
            endpoints=fused(self.endpoints, fuse),
            executions=fused(self.executions, fuse),
            closing=self.closing(fuse),
            logs=self.drive_logs(fuse),
            privacy=self.privacy,
            max_answer_wait=MAX_ANSWER_WAIT,
            now=lambda: self.now,
        )

    def submit(self, asked: Asked, fuse: Fuse | None = None, *, park: bool = False, again: bool = False) -> list[str]:
        return [one.outcome for one in self.take(asked, fuse, park=park, again=again)]

    def take(
        self, asked: Asked, fuse: Fuse | None = None, *, park: bool = False, again: bool = False
    ) -> list[Submitted]:
        return self.submission(fuse).take(asked, park=park, again=again)

    def submit_asked(self) -> list[str]:
        """Take all messages from the pipeline's own queue."""
        asked, self.queue.asked = self.queue.asked, []
        return [outcome for one in asked for outcome in self.submit(one)]

    def close(self, body: bytes | None = None) -> list[str]:
        event = self.upload(f"drives/{self.drive}/drive.json", drive_document() if body is None else body)
        return self.submit(event)

    def completion(self, fuse: Fuse | None = None) -> Completion:
        return Completion(
            fused(self.ledger, fuse),
            fused(self.queue, fuse),
            ingest="ingest",
            labels="labels",
            endpoint_of=self.catalogue().endpoint_of,
            max_errors=MAX_ERRORS,
        )

    def collect(self, body: str, fuse: Fuse | None = None) -> Settled:
        """Take a notification, and wake runs that are done, as the collect function does."""
        ledger, executions = fused(self.ledger, fuse), fused(self.executions, fuse)
        completion = self.completion(fuse)
        completion.begin([body])
        settled = completion.take(body, self.now)
        if settled.drive:
            wake_if_done(settled.drive, ledger, executions)
        return settled

    @property
    def run(self) -> Run:
        run = self.ledger.latest_run(self.drive)
        assert run is not None, f"{self.drive} was never closed"
        return run

    def turns(self, fuse: Fuse | None = None) -> ReconcilePasses:
        return ReconcilePasses(
            ingest=fused(self.ingest, fuse),
            label_bucket=fused(self.labels, fuse),
            ledger=fused(self.ledger, fuse),
            queue=fused(self.queue, fuse),
            catalogue=self.catalogue(),
            endpoints=fused(self.endpoints, fuse),
            limits=LIMITS,
            frames_patience=FRAMES_PATIENCE,
            workers=self.workers,
        )

    def reconcile(
        self, fuse: Fuse | None = None, progress: PassProgress | None = None, enough: Callable[[], bool] = lambda: False
    ) -> PassReport:
        return self.turns(fuse).reconcile(self.run, progress or PassProgress(), self.now, enough)

    def sweep(self, now: float | None = None) -> SweepReport:
        sweep = Sweep(
            ingest=self.ingest,
            label_bucket=self.labels,
            ledger=self.ledger,
            queue=self.queue,
            announcements=self.announcements,
            abandoned_after=ABANDONED_AFTER,
            unheard_after=UNHEARD_AFTER,
            every=UNHEARD_AFTER,
        )
        return sweep.run(self.now if now is None else now)

    def wait(self, token: str, fuse: Fuse | None = None) -> bool:
        """Let the execution wait with a token; returns whether it is woken at once."""
        self.executions.tokens.add(token)
        ledger, executions = fused(self.ledger, fuse), fused(self.executions, fuse)
        self.waits += 1
        return await_answers(self.run, token, f"{self.waits:04d}", ledger=ledger, executions=executions)

    def plan(self, shard_frames: int = 3) -> Plan:
        return plan_run(self.run, label_bucket=self.labels, ledger=self.ledger, shard_frames=shard_frames)

    def label(self) -> None:
        """Label every planned shard, and link the boxes."""
        labelling = ShardLabelling(
            self.run,
            self.catalogue().revisions(self.run.models),
            self.catalogue().revision(self.run.views.model) if self.run.views else None,
            ingest=self.ingest,
            label_bucket=self.labels,
            created="2026-01-01T00:00:00.000",
        )
        for shard in read_shards(self.labels, self.run.folder):
            labelling.label(shard)
        link_run(self.run, LinkCursor(), label_bucket=self.labels, is_late=lambda: False)

    def relabel(self, review: ReviewChoice = REVIEW_CHANGED, shard_frames: int = 3) -> TakeOver:
        """Relabel the drive until its shards are labelled; the earlier run's execution was stopped."""
        self.executions.statuses[execution_name(self.drive, self.run.run)] = "ABORTED"
        self.closing().relabel(self.drive, review)
        self.reconcile()
        self.plan(shard_frames)
        taken = self.take_over()
        self.label()
        return taken

    def take_over(self, waited: float = PATIENCE_SECONDS) -> TakeOver:
        """Take over the work of earlier runs, until their jobs have ended."""
        for _ in range(10):
            taken = take_over_earlier_runs(
                self.run,
                label_bucket=self.labels,
                ledger=self.ledger,
                jobs=self.jobs,
                projects=self.projects,
                waited=waited,
            )
            if taken.verdict == "collected":
                break
        return taken

    def assemble(self, max_objects: int = 100_000, strip_frames: int = 500) -> Assembly:
        return assemble_run(
            self.run,
            ingest=self.ingest,
            label_bucket=self.labels,
            ledger=self.ledger,
            announcements=self.announcements,
            back_ends=self.back_ends,
            max_objects=max_objects,
            strip_frames=strip_frames,
        )

    def publish(self, jobs: Sequence[FinishedJob], part_frames: int = 20_000) -> Publication:
        return publish_run(
            self.run,
            jobs,
            ingest=self.ingest,
            label_bucket=self.labels,
            ledger=self.ledger,
            announcements=self.announcements,
            now=self.now,
            part_frames=part_frames,
        )

    def verify(self, assembly: Assembly, *answers: Answers) -> list[FinishedJob]:
        """Finish every job: reviewers leave the boxes as they are, except for what `answers` do, one for each round."""
        return [self.finish(job, *answers) for job in assembly.jobs]

    def finish(self, job: VerificationJob, *answers: Answers) -> FinishedJob:
        """Finish one job; each of `answers` is applied to the lines of one round."""
        ahead = list(answers)
        name, manifest, frames, rounds = job.name, job.manifest, job.frames, list[SettledRound]()
        while True:
            given = [msgspec.json.decode(line) for line in self.labels.lines(self.key_of(manifest))]
            lines = [self.segmented(line, name) if job.task == SEGMENTS else verified(line) for line in given]
            left = (ahead.pop(0) if ahead else list)([msgspec.json.encode(line) for line in lines])
            one = JobRound(name, job.back_end, len(rounds) + 1, manifest, frames, "", job.task)
            rounds.append(
                settle_round(
                    one,
                    left,
                    label_bucket=self.labels,
                    names=frozenset(self.run.labels),
                    is_redrawn=partial(is_redrawn, self.run.document.verification),
                )
            )
            if (following := rounds[-1].again) is None:
                return FinishedJob(job.name, "Completed", job.frames, job.first, job.last, tuple(rounds))
            name, manifest, frames = f"{name}-again", following.manifest, following.frames

    def segmented(self, line: dict[str, Any], job: str) -> dict[str, Any]:
        """A manifest line as an adjustment job of segments writes it; also writes a picture of the frame's size."""
        frame = line["source-ref"].rpartition("/")[2]
        folder = f"{self.run.folder.prefix}verification/{job}"
        key = f"{folder}/annotations/consolidated-annotation/output/{frame}"
        size = line["prelabel"]["image_size"][0]
        self.labels.write(key, png(size["width"], size["height"]), "image/png")
        colors = line.get("autolabel-segmentation-ref-metadata", {}).get("internal-color-map")
        return {
            **line,
            "verified-ref": self.labels.uri(key),
            "verified-ref-metadata": {
                "internal-color-map": colors or {"0": {"class-name": "BACKGROUND", "hex-color": "#ffffff"}},
                "type": "groundtruth/semantic-segmentation",
                "human-annotated": "yes",
                "creation-date": "2026-01-02T00:00:00.000000",
                "job-name": f"labeling-job/{job}",
                "adjustment-status": "unadjusted",
            },
        }

    def key_of(self, uri: str) -> str:
        return uri.removeprefix(self.labels.uri(""))


def verified(line: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A manifest line as an adjustment job writes it, with its boxes unchanged."""
    boxes = line["prelabel"]["annotations"]
    return {
        **line,
        "verified": line["prelabel"],
        "verified-metadata": {
            "objects": [{"confidence": 0.0} for _ in boxes],
            "class-map": line["prelabel-metadata"]["class-map"],
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": "2026-01-02T00:00:00.000000",
            "job-name": "labeling-job/verify",
            "adjustment-status": "unadjusted",
            **metadata,
        },
    }


def s3_message(event: ObjectEvent) -> str:
    """The message that S3 sends to a queue for an object, with its key form-encoded."""
    return msgspec.json.encode(
        {
            "Records": [
                {
                    "eventVersion": "2.1",
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {
                        "bucket": {"name": event.bucket},
                        "object": {"key": quote_plus(event.key, safe="/"), "eTag": event.etag, "size": event.size},
                    },
                }
            ]
        }
    ).decode()


def read_one(message: str) -> Asked:
    """The only request in a message."""
    (asked,) = read_message(message)
    return asked
