"""One labelling job: reads its inputs, has its tasks answered, writes the results."""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict
from typing import Any, Protocol

from local.records import Records
from local.sagemaker.ground_truth.annotation_files import AnnotationFiles
from local.sagemaker.ground_truth.annotators import Annotator, JobFails, JobStops, JobView
from local.sagemaker.ground_truth.cuboids import Scenes
from local.sagemaker.ground_truth.desk import Counts, Desk
from local.sagemaker.ground_truth.image_tickets import ImageTickets
from local.sagemaker.ground_truth.labeling_requests import job_kind
from local.sagemaker.ground_truth.manifests import OBJECTS, SEGMENTED_OBJECTS, BadManifest, read_manifest
from local.sagemaker.ground_truth.people import LIFETIME_SECONDS, await_people
from local.sagemaker.ground_truth.scripted import answer_all
from local.sagemaker.ground_truth.sequences import SEQUENCES, BadSequence, Sequences, read_track_categories
from local.sagemaker.ground_truth.tasks import Clock, Result, Tasks
from local.sagemaker.ground_truth.worker_answers import sender_of
from local.sagemaker.ground_truth.worker_pages import BadPage, WorkerPage
from local.sagemaker.ground_truth.worker_templates import (
    BadCategories,
    BadTemplate,
    WorkerTemplate,
    read_categories,
    read_template,
)
from local.sagemaker.names import S3Uri, arn
from local.sagemaker.ports import Cloud, StorageError
from local.settings import PEOPLE, CloudSettings

_log = logging.getLogger(__name__)
# Tasks that a scripted annotator answers at once, unless MaxConcurrentTaskCount is lower.
_TASKS = 8
# Kinds of records: results of tasks that a worker has answered, and that have failed without an answer.
_RESULTS = ("answer", "failure")
EVENT = "SageMaker Ground Truth Labeling Job State Change"
# The tag of a job whose tasks were answered before: the name of the earlier job, or how the names of its attempts begin
# (`-1`, `-2` follow). A private workforce's portal cannot be told; this one gives such a task to another worker.
SECOND_LOOK = "second-look-at"


class _JobFailed(Exception):
    """The whole job fails; the message is its FailureReason."""


class OtherJobs(Protocol):
    """The jobs beside this one, and whether `one_person` may give a second look to what they gave the first one."""

    @property
    def one_person(self) -> bool: ...

    def __iter__(self) -> Iterator[LabelingJob]: ...


class LabelingJob:
    """A labelling job and its thread; it reads and writes with the rights of its RoleArn.

    `annotator` answers its tasks; without one, people answer them at its `desk`, which exists while the job is
    InProgress. The job's state and its answers are kept in `records`.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        cloud: Cloud,
        annotator: Annotator | None,
        settings: CloudSettings,
        tickets: ImageTickets,
        clock: Clock,
        records: Records,
        others: OtherJobs,
    ) -> None:
        self.name: str = request["LabelingJobName"]
        self.arn = arn("labeling-job", self.name)
        self.title: str = request["HumanTaskConfig"]["TaskTitle"]
        self._request = request
        self.kind = job_kind(request)
        # By worker, the images of the tasks that they answered.
        self.answered: dict[str, set[str]] = {}
        self._others = others
        self._cloud = cloud
        self._objects = cloud.roles.assume(request["RoleArn"]).objects
        self._annotator = annotator
        self._settings = settings
        self._manifest_delay = settings.stopped_manifest_delay
        self._tickets = tickets
        self._clock = clock
        self._records = records
        self.desk: Desk | None = None
        self._counts = Counts()
        self._created = self._modified = time.time()
        self._age = 0.0
        self._reference = uuid.uuid4().hex[:10]
        self._status = "Initializing"
        self._failure_reason: str | None = None
        self._output: S3Uri | None = None
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name=f"job-{self.name}", daemon=True)

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up the job as another process has kept it; call it before `start`."""
        self._status, self._failure_reason = kept["status"], kept["failure_reason"]
        self._created, self._modified, self._reference = kept["created"], kept["modified"], kept["reference"]
        self._age = time.time() - self._created
        self._counts = Counts(**kept["counts"])
        self._output = S3Uri.parse(kept["output"]) if kept["output"] else None
        for _, answer in self._records.all("answer", self.name):
            self._note(_result(answer), answer.get("images", [answer["source-ref"]]))
        if self._status == "InProgress":
            # It has no tasks before its inputs are read again.
            self._status = "Initializing"
        if self._status == "Stopping":
            self._stopping.set()

    def start(self) -> None:
        """Start the job's thread."""
        self._keep()
        self._thread.start()

    @property
    def scripted(self) -> bool:
        """Tell whether a script answers the job's tasks."""
        return self._annotator is not None

    @property
    def open(self) -> bool:
        """Tell whether the job has not ended."""
        return self.status in ("Initializing", "InProgress", "Stopping")

    def request_stop(self) -> None:
        """Stop labelling: Stopping, then Stopped with the results so far. Has no effect on an ended job."""
        with self._lock:
            if self._status in ("Initializing", "InProgress"):
                self._set_status("Stopping")
                self._stopping.set()

    def abandon(self) -> None:
        """End the job without output or event, because the cloud goes down; wait for its thread."""
        self._abandoned.set()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def status(self) -> str:
        """LabelingJobStatus."""
        with self._lock:
            return self._status

    @property
    def counts(self) -> Counts:
        """The job's progress."""
        with self._lock:
            return self.desk.counts if self.desk else self._counts

    def summary(self) -> dict[str, Any]:
        """Describe the job as ListLabelingJobs shows it."""
        human = self._request["HumanTaskConfig"]
        with self._lock:
            return self._state() | {
                "WorkteamArn": human["WorkteamArn"],
                "PreHumanTaskLambdaArn": human["PreHumanTaskLambdaArn"],
                "AnnotationConsolidationLambdaArn": human["AnnotationConsolidationConfig"][
                    "AnnotationConsolidationLambdaArn"
                ],
                "InputConfig": self._request["InputConfig"],
            }

    def description(self) -> dict[str, Any]:
        """Describe the job as DescribeLabelingJob shows it."""
        with self._lock:
            return {**self._request, **self._state(), "JobReferenceCode": self._reference}

    def _state(self) -> dict[str, Any]:
        counts = self.counts
        state: dict[str, Any] = {
            "LabelingJobName": self.name,
            "LabelingJobArn": self.arn,
            "LabelingJobStatus": self._status,
            "CreationTime": self._created,
            "LastModifiedTime": self._modified,
            "LabelCounters": {
                "TotalLabeled": counts.labelled,
                "HumanLabeled": counts.labelled,
                "MachineLabeled": 0,
                "FailedNonRetryableError": counts.failed,
                "Unlabeled": counts.total - counts.labelled - counts.failed,
            },
        }
        if self._failure_reason:
            state["FailureReason"] = self._failure_reason
        if self._output:
            state["LabelingJobOutput"] = {"OutputDatasetS3Uri": str(self._output)}
        return state

    def _set_status(self, status: str) -> None:
        with self._lock:
            self._status = status
            self._modified = time.time()
            self._keep()

    def _keep(self) -> None:
        with self._lock:
            kept = {
                "request": dict(self._request),
                "status": self._status,
                "failure_reason": self._failure_reason,
                "created": self._created,
                "modified": self._modified,
                "reference": self._reference,
                "counts": asdict(self.counts),
                "output": str(self._output) if self._output else None,
            }
        self._records.put("job", "", self.name, kept)

    def _run(self) -> None:
        late: Desk | None = None
        try:
            desk = self._label_everything()
            if self._abandoned.is_set():
                return
            # A stop that comes later is too late: everything is labelled.
            status = "Stopped" if self._stopping.is_set() else "Completed"
            if status == "Stopped" and self._manifest_delay != 0:
                late = desk
            else:
                self._write_output(desk)
        except (_JobFailed, JobFails, BadManifest, BadTemplate, BadPage, BadCategories, StorageError) as e:
            status, self._failure_reason = "Failed", f"ClientError: {e}"
        except Exception as e:
            _log.exception("labelling job %s", self.name)
            status, self._failure_reason = "Failed", f"InternalServerError: {type(e).__name__}: {e}"
        if self._abandoned.is_set():
            return
        if self._failure_reason:
            _log.error("labelling job %s: %s", self.name, self._failure_reason)
        self._set_status(status)
        self._cloud.events.put(EVENT, {"LabelingJobStatus": status}, [self.arn])
        if late:
            self._write_late(late)

    def _write_late(self, desk: Desk) -> None:
        """Write the output of a job that is Stopped already, if it is to have any."""
        delay = self._manifest_delay
        if delay is None or self._abandoned.wait(delay):
            return
        try:
            self._write_output(desk)
        except StorageError:
            _log.exception("labelling job %s: no output manifest", self.name)

    def _write_output(self, desk: Desk) -> None:
        output = desk.write_results()
        with self._lock:
            self._output = output
            self._keep()

    def _label_everything(self) -> Desk:
        """Have the tasks answered until all are done or the job is stopped; return the closed desk."""
        place = S3Uri.parse(self._request["OutputConfig"]["S3OutputPath"]).below(self.name)
        files = AnnotationFiles(self._objects, place, self._request["OutputConfig"].get("KmsKeyId"))
        desk = self._prepare(files)
        with self._lock:
            self.desk = desk
            if self._status == "Initializing":
                self._set_status("InProgress")
        human = self._request["HumanTaskConfig"]
        try:
            if self._annotator:
                answer_all(desk, self._annotator, min(_TASKS, human.get("MaxConcurrentTaskCount", _TASKS)))
            else:
                lifetime = human.get("TaskAvailabilityLifetimeInSeconds", LIFETIME_SECONDS)
                await_people(desk, lifetime, self._clock, self._age)
        except JobStops as e:
            self._manifest_delay = e.manifest_delay
            self.request_stop()
        finally:
            desk.tasks.close()
            with self._lock:
                # The portal shows it no longer. Its files on disk are freed with the last reference to it.
                self.desk, self._counts = None, desk.counts
        return desk

    def _prepare(self, files: AnnotationFiles) -> Desk:
        """Read all inputs, including the whole manifest: a job with a bad line does not start."""
        human = self._request["HumanTaskConfig"]
        attribute = self._request["LabelAttributeName"]
        categories = self._text(self._request["LabelCategoryConfigS3Uri"])
        sequences = scenes = None
        if self.kind == "cuboids":
            scenes = Scenes(self._objects, read_track_categories(categories, refers=False))
            labels: Sequence[str] = scenes.categories.labels
            template = WorkerTemplate("", frozenset(), scenes.categories.audited)
        elif self.kind == "tracking":
            sequences = Sequences(self._objects, read_track_categories(categories))
            labels = sequences.categories.labels
            # The page of a video job is Ground Truth's own.
            template = WorkerTemplate("", frozenset(), sequences.categories.audited)
        else:
            template = read_template(self._text(human["UiConfig"]["UiTemplateS3Uri"]), self.kind)
            labels = read_categories(categories)
        page = WorkerPage(template.text, lambda uri: self._tickets.grant(self.name, uri))
        if template.prelabel == attribute:
            raise _JobFailed(f"LabelAttributeName {attribute!r} must differ from the attribute of the labels to adjust")
        tasks = Tasks(self._lines(attribute), self._clock, human["NumberOfHumanWorkersPerDataObject"])
        view = JobView(
            name=self.name,
            kind=self.kind,
            labels=labels,
            label_attribute=attribute,
            prelabel_attribute=template.prelabel,
            title=self.title,
            description=human["TaskDescription"],
            template=template.text,
            human_annotated=self._annotator is None
            or (self._settings.annotator_is_person and self._settings.annotator != PEOPLE),
            stopping=self._stopping,
            sequences=sequences,
            scenes=scenes,
        )
        limit = human["TaskTimeLimitInSeconds"]
        desk = Desk(view, template, page, tasks, self._objects, self._cloud.browsers, files, limit)
        desk.render(0)
        self._take_up_answers(desk)
        tasks.looked = self._looked(desk)
        tasks.others_only = lambda: not self._others.one_person
        return desk

    def _looked(self, desk: Desk) -> Mapping[str, Set[int]]:
        """Find by worker the tasks whose images they answered in the job to which this one gives a second look."""
        tag = next((tag["Value"] for tag in self._request.get("Tags", []) if tag["Key"] == SECOND_LOOK), None)
        if tag is None:
            return {}
        named = re.compile(re.escape(tag) + r"(-[0-9]+)?")
        found: dict[str, set[int]] = {}
        earlier = [job.answered for job in self._others if job is not self and named.fullmatch(job.name)]
        for number in range(desk.tasks.total):
            images = set(_images(desk, number))
            for answered in earlier:
                for worker, theirs in answered.items():
                    if not images.isdisjoint(theirs):
                        found.setdefault(worker, set()).add(number)
        return found

    def _note(self, result: Result, images: Iterable[str]) -> None:
        for answer in result.all_answers:
            self.answered.setdefault(sender_of(answer), set()).update(images)

    def _take_up_answers(self, desk: Desk) -> None:
        """Settle the tasks that another process has settled, and keep the results that come."""
        for kind in _RESULTS:
            for number, kept in self._records.all(kind, self.name):
                line = desk.tasks.line(int(number))
                if line["source-ref"] != kept["source-ref"]:
                    raise _JobFailed(f"Task {number} is {line['source-ref']}, but was {kept['source-ref']} before")
                desk.settle(int(number), _result(kept))

        def keep(number: int, result: Result) -> None:
            images = _images(desk, number)
            self._note(result, images)
            kept = {"source-ref": desk.tasks.line(number)["source-ref"], "images": images, **asdict(result)}
            self._records.put(_RESULTS[result.answer is None], self.name, str(number), kept)

        desk.tasks.on_result = keep

    def _lines(self, attribute: str) -> Iterator[dict[str, Any]]:
        """Yield the manifest's objects; raises _JobFailed for one that already has the job's attribute."""
        for number, line in enumerate(self._manifest(), start=1):
            taken = {attribute, f"{attribute}-metadata"} & line.keys()
            if taken:
                raise _JobFailed(f"Line {number} already has the attribute {min(taken)!r}")
            yield line

    def _manifest(self) -> Iterator[dict[str, Any]]:
        uri = S3Uri.parse(self._request["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"])
        body = self._objects.open(uri).body
        try:
            limits = {"segmentation": SEGMENTED_OBJECTS, "tracking": SEQUENCES}
            yield from read_manifest(body, limits.get(self.kind, OBJECTS))
        finally:
            body.close()

    def _text(self, uri: str) -> str:
        body = self._objects.open(S3Uri.parse(uri)).body
        try:
            return body.read().decode()
        except UnicodeDecodeError as e:
            raise _JobFailed(f"{uri} is not UTF-8 text") from e
        finally:
            body.close()


def _result(kept: Mapping[str, Any]) -> Result:
    return Result(kept["attributes"], kept["answer"], kept.get("answers", ()))


def _images(desk: Desk, number: int) -> list[str]:
    """Return the S3 URIs of the images that a task is about; none of a sequence that cannot be read."""
    line = desk.tasks.line(number)
    if desk.view.kind != "tracking":
        return [line["source-ref"]]
    try:
        return [str(frame.uri) for frame in desk.view.sequence(line).frames]
    except BadSequence:
        return []
