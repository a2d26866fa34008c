"""One labelling job at work: reads its inputs, asks the annotator line by line, writes the output manifest."""

from __future__ import annotations

import itertools
import json
import logging
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from local.sagemaker.annotators import Annotator, Failure, JobFails, JobView, MalformedPrelabel
from local.sagemaker.consolidation import NotConsolidated, failed_line, labelled_line
from local.sagemaker.labeling_requests import job_kind
from local.sagemaker.manifests import BadManifest, read_manifest
from local.sagemaker.names import S3Uri, arn
from local.sagemaker.ports import Browsers, Cloud, ObjectStore, StorageError
from local.sagemaker.worker_templates import (
    BadCategories,
    BadTemplate,
    WorkerTemplate,
    read_categories,
    read_template,
)

_log = logging.getLogger(__name__)
# Tasks open at once, unless MaxConcurrentTaskCount says fewer; a window of them is answered before the next begins.
_TASKS = 8
_IMAGE_TYPES = (".jpg", ".jpeg", ".png")
_SPOOL_BYTES = 1 << 20
EVENT = "SageMaker Ground Truth Labeling Job State Change"


class _JobFailed(Exception):
    """The job as a whole fails; the message is its FailureReason."""


class LabelingJob:
    """A labelling job and the thread that does it; it reads and writes with the rights of its RoleArn."""

    def __init__(self, request: Mapping[str, Any], cloud: Cloud, annotator: Annotator) -> None:
        self.name: str = request["LabelingJobName"]
        self.arn = arn("labeling-job", self.name)
        self._request = request
        self._kind = job_kind(request)
        self._cloud = cloud
        self._objects = cloud.roles.assume(request["RoleArn"]).objects
        self._annotator = annotator
        self._created = self._modified = time.time()
        self._reference = uuid.uuid4().hex[:10]
        self._status = "Initializing"
        self._failure_reason: str | None = None
        self._output: S3Uri | None = None
        self._total = 0
        self._counts: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name=f"job-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def request_stop(self) -> None:
        """Label nothing more: Stopping, then Stopped with what there is. Without effect on a job that has ended."""
        with self._lock:
            if self._status in ("Initializing", "InProgress"):
                self._set_status("Stopping")
                self._stopping.set()

    def abandon(self) -> None:
        """The cloud goes down: end without a trace, and wait for it."""
        self._abandoned.set()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def summary(self) -> dict[str, Any]:
        """The job as ListLabelingJobs shows it."""
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
        """The job as DescribeLabelingJob shows it."""
        with self._lock:
            return {**self._request, **self._state(), "JobReferenceCode": self._reference}

    def _state(self) -> dict[str, Any]:
        labelled, failed = self._counts["labelled"], self._counts["failed"]
        state: dict[str, Any] = {
            "LabelingJobName": self.name,
            "LabelingJobArn": self.arn,
            "LabelingJobStatus": self._status,
            "CreationTime": self._created,
            "LastModifiedTime": self._modified,
            "LabelCounters": {
                "TotalLabeled": labelled,
                "HumanLabeled": labelled,
                "MachineLabeled": 0,
                "FailedNonRetryableError": failed,
                "Unlabeled": self._total - labelled - failed,
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

    def _run(self) -> None:
        try:
            status = self._label_everything()
        except (_JobFailed, JobFails, BadManifest, BadTemplate, BadCategories, StorageError) as e:
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

    def _label_everything(self) -> str:
        """Do the job; returns its final status."""
        view, template = self._prepare()
        with self._lock:
            if self._status == "Initializing":
                self._set_status("InProgress")
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as output:
            self._label_lines(view, template, output)
            if self._abandoned.is_set():
                return "Stopped"
            output.seek(0)
            place = S3Uri.parse(self._request["OutputConfig"]["S3OutputPath"]).below(
                self.name, "manifests", "output", "output.manifest"
            )
            key = self._request["OutputConfig"].get("KmsKeyId")
            self._objects.write(place, output, "application/json", key)
        with self._lock:
            self._output = place
            return "Stopped" if self._stopping.is_set() else "Completed"

    def _prepare(self) -> tuple[JobView, WorkerTemplate]:
        """Read what the job refers to, the whole manifest included: a job with a bad line does not begin."""
        human = self._request["HumanTaskConfig"]
        attribute = self._request["LabelAttributeName"]
        template = read_template(self._text(human["UiConfig"]["UiTemplateS3Uri"]), self._kind)
        labels = read_categories(self._text(self._request["LabelCategoryConfigS3Uri"]))
        if template.prelabel == attribute:
            raise _JobFailed(f"LabelAttributeName {attribute!r} must differ from that of the labels it shows")
        total = 0
        for total, line in enumerate(self._manifest(), start=1):
            taken = {attribute, f"{attribute}-metadata"} & line.keys()
            if taken:
                raise _JobFailed(f"Line {total} has the attribute {min(taken)!r} already")
        self._total = total
        view = JobView(
            name=self.name,
            kind=self._kind,
            labels=labels,
            label_attribute=attribute,
            prelabel_attribute=template.prelabel,
            title=human["TaskTitle"],
            description=human["TaskDescription"],
            template=template.text,
            stopping=self._stopping,
        )
        return view, template

    def _label_lines(self, view: JobView, template: WorkerTemplate, output: IO[bytes]) -> None:
        """Answer the lines in order, a window at a time, until all are done or the job is stopped."""
        tasks = min(_TASKS, self._request["HumanTaskConfig"].get("MaxConcurrentTaskCount", _TASKS))
        images = _Images(self._objects, self._cloud.browsers, template)
        lines = self._manifest()
        with ThreadPoolExecutor(tasks, thread_name_prefix=f"tasks-{self.name}") as pool:
            while not self._stopping.is_set():
                window = list(itertools.islice(lines, tasks))
                if not window:
                    break
                for answered in pool.map(lambda line: self._label(line, view, images), window):
                    if answered is not None:
                        output.write(json.dumps(answered, ensure_ascii=False).encode() + b"\n")

    def _label(self, line: Mapping[str, Any], view: JobView, images: _Images) -> dict[str, Any] | None:
        """One line's output; None when the job was stopped over it."""
        try:
            images.check(line)
            annotation = self._annotator(line, view)
            if self._stopping.is_set():
                return None
            if isinstance(annotation, Failure):
                raise NotConsolidated(annotation.reason)
            answered = labelled_line(line, annotation, view)
        except (NotConsolidated, MalformedPrelabel) as e:
            self._counts_up("failed")
            return failed_line(line, str(e), view)
        except JobFails:
            raise
        except Exception as e:
            _log.exception("labelling job %s: %s", self.name, line.get("source-ref"))
            self._counts_up("failed")
            return failed_line(line, f"The annotator failed: {type(e).__name__}: {e}", view)
        self._counts_up("labelled")
        return answered

    def _counts_up(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    def _manifest(self) -> Iterator[dict[str, Any]]:
        uri = S3Uri.parse(self._request["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"])
        body = self._objects.open(uri).body
        try:
            yield from read_manifest(body)
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


class _Images:
    """Whether a worker's browser could show the images that a template takes from a line."""

    def __init__(self, objects: ObjectStore, browsers: Browsers, template: WorkerTemplate) -> None:
        self._objects = objects
        self._browsers = browsers
        self._template = template
        self._open_buckets: dict[str, bool] = {}

    def check(self, line: Mapping[str, Any]) -> None:
        """Raise NotConsolidated for an image that is missing, of another type, or that CORS hides."""
        for name in sorted(self._template.images):
            if name not in line:
                raise NotConsolidated(f"The line has no {name!r}, which the worker template shows")
            text = line[name]
            if not str(text).lower().endswith(_IMAGE_TYPES):
                raise NotConsolidated(f"{name} {text} is not an image of type {', '.join(_IMAGE_TYPES)}")
            try:
                uri = S3Uri.parse(text)
                if uri.bucket not in self._open_buckets:
                    self._open_buckets[uri.bucket] = self._browsers.may_get(uri.bucket)
                if not self._open_buckets[uri.bucket]:
                    raise NotConsolidated(f"The bucket {uri.bucket} has no CORS rule that lets browsers GET {text}")
                self._objects.check_exists(uri)
            except (StorageError, ValueError) as e:
                raise NotConsolidated(f"{name}: {e}") from e
