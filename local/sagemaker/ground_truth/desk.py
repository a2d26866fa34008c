"""The tasks of one labelling job at work, answered by a script or by people at the portal."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from local.sagemaker.ground_truth.annotation_files import AnnotationFiles
from local.sagemaker.ground_truth.annotators import Annotation, Box, Boxes, JobView, MalformedPrelabel, Segments
from local.sagemaker.ground_truth.consolidation import BACKGROUND, NotConsolidated, failure_attributes, label_attributes
from local.sagemaker.ground_truth.cuboids import Cuboids
from local.sagemaker.ground_truth.sequences import BadSequence, Tracks
from local.sagemaker.ground_truth.tasks import Result, Tasks
from local.sagemaker.ground_truth.worker_answers import BadAnswer, answer_content, read_answer, sender_of
from local.sagemaker.ground_truth.worker_pages import WorkerPage
from local.sagemaker.ground_truth.worker_templates import WorkerTemplate
from local.sagemaker.names import S3Uri
from local.sagemaker.ports import Browsers, ObjectStore, StorageError, StoredObject

_IMAGE_TYPES = (".jpg", ".jpeg", ".png")
# Developer guide, "CORS permission requirement": jobs of videos and points need more than image jobs, on input and
# output buckets.
_VIDEO_METHODS = frozenset({"GET", "HEAD", "PUT"})


@dataclass(frozen=True)
class Counts:
    """The progress of a job in tasks; `seconds`: the time that workers spent on the answered ones."""

    total: int = 0
    labelled: int = 0
    failed: int = 0
    answered: int = 0
    seconds: float = 0.0


class Desk:
    """A job's tasks, their pages and images, and the handling of answers.

    `time_limit`: seconds that a worker has for a task. `broken`: the error that stops the job from taking more
    answers.
    """

    def __init__(
        self,
        view: JobView,
        template: WorkerTemplate,
        page: WorkerPage,
        tasks: Tasks,
        objects: ObjectStore,
        browsers: Browsers,
        files: AnnotationFiles,
        time_limit: float,
    ) -> None:
        self.view = view
        self.tasks = tasks
        self.time_limit = time_limit
        self.broken: StorageError | None = None
        self.counts = Counts(tasks.total)
        self._template = template
        self._page = page
        self._objects = objects
        self._browsers = browsers
        self._files = files
        self._open_buckets: dict[str, Set[str]] = {}
        self._lock = threading.Lock()

    def render(self, number: int) -> str:
        """Render the worker's page of a task; raises BadPage."""
        return self._page.render(self.tasks.line(number), self.view.labels, self.view.description)

    def shown_image(self, number: int) -> str | None:
        """Return the S3 URI of the first image that the template shows for a task."""
        line = self.tasks.line(number)
        return next((line[name] for name in sorted(self._template.images) if isinstance(line.get(name), str)), None)

    def boxes(self, number: int) -> tuple[Box, ...]:
        """Return the boxes of a task as its worker left them, else as its page shows them; none if malformed.

        Where several workers answer a task, they must not see each other's boxes.
        """
        result = self.tasks.result(number)
        try:
            if result and result.answer and self.tasks.workers == 1:
                annotation = read_answer(result.answer["answerContent"], self.view)
                return annotation.boxes if isinstance(annotation, Boxes) else ()
        except BadAnswer:
            return ()
        return self.shown_boxes(number)

    def shown_boxes(self, number: int) -> tuple[Box, ...]:
        """Return the boxes that the page of a task shows at first; none if they are malformed."""
        try:
            return self.view.prelabels(self.tasks.line(number))
        except MalformedPrelabel:
            return ()

    def starts_empty(self, number: int) -> bool:
        """Tell whether a task is to be labelled from nothing, so that no other boxes may lead its worker."""
        name = self.view.prelabel_attribute
        return name is None or name not in self.tasks.line(number)

    def open_image(self, uri: S3Uri) -> StoredObject:
        """Open an image with the rights of the job's role; raises StorageError."""
        return self._objects.open(uri)

    def submit(self, number: int, annotation: Annotation, answer: Mapping[str, Any]) -> bool:
        """Take an answer that `worker_answer` made, also in place of the same worker's earlier one.

        With several workers, the label is made of all their answers so far.

        Returns False when it comes too late, or another worker's answer counts. Raises StorageError.
        """
        if not self.tasks.claim(number, sender_of(answer)):
            return False
        line = self.tasks.line(number)
        answers: list[Mapping[str, Any]] = []
        if self.tasks.workers > 1:
            given = {sender_of(one): one for one in self.tasks.answers(number)}
            answers = list((given | {sender_of(answer): answer}).values())
        try:
            stored = None
            try:
                if isinstance(annotation, Segments) and annotation.picture:
                    stored = self._files.write_picture(number, annotation.picture)
                if isinstance(annotation, Tracks):
                    stored = self._files.write_tracks(number, self.content(number, annotation))
                drawn = [read_answer(one["answerContent"], self.view) for one in answers]
                several = [one for one in drawn if isinstance(one, Boxes)]
                attributes = label_attributes(line, annotation, self.view, stored, several)
            except (NotConsolidated, MalformedPrelabel, BadSequence) as e:
                attributes = failure_attributes(str(e), self.view)
            self._files.write_response(number, answer, answers or [answer])
        except StorageError as e:
            self.broken = e
            self.tasks.reopen(number)
            raise
        self._finish(number, Result(attributes, answer, answers))
        return True

    def content(self, number: int, annotation: Annotation) -> dict[str, Any]:
        """Make the content of a worker's answer: for tracks a SeqLabel, and for cuboids their label, since no other
        shape is documented.

        Raises BadSequence.
        """
        if isinstance(annotation, Tracks):
            return self.view.seq_label(self.tasks.line(number), annotation)
        if isinstance(annotation, Cuboids):
            return self.view.cuboid_label(annotation)
        return answer_content(annotation)

    def painted(self, number: int, annotation: Segments) -> Segments:
        """Complete an answer whose `image` is known: with the picture that was shown, or a blank one.

        Raises NotConsolidated and MalformedPrelabel.
        """
        shown = self.view.segments(self.tasks.line(number))
        meant = shown[1].values() if shown else ()
        colors = {one["class-name"]: one["hex-color"] for one in meant if one["class-name"] != BACKGROUND["class-name"]}
        if annotation.picture:
            return replace(annotation, colors=colors, adjusted=True)
        return replace(annotation, colors=colors, picture=self._read(shown[0]) if shown else _blank(annotation.image))

    def _read(self, uri: str) -> bytes:
        try:
            body = self._objects.open(S3Uri.parse(uri)).body
            try:
                return body.read()
            finally:
                body.close()
        except (StorageError, ValueError) as e:
            raise NotConsolidated(f"{uri}: {e}") from e

    def write_results(self) -> S3Uri:
        """Write the output manifest and the files of consolidation; return the manifest's URI. Raises StorageError."""
        return self._files.write_results(self.tasks.results())

    def fail(self, number: int, reason: str) -> None:
        """End a task without an answer; has no effect on a task that has ended."""
        self.settle(number, Result(failure_attributes(reason, self.view)))

    def settle(self, number: int, result: Result) -> None:
        """End a task with a result; has no effect on a task that has ended."""
        if self.tasks.claim(number):
            self._finish(number, result)

    def _finish(self, number: int, result: Result) -> None:
        earlier = self.tasks.result(number)
        with self._lock:
            if earlier:
                self._count(earlier, -1)
            if self.tasks.is_whole(result):
                self._count(result, 1)
        self.tasks.finish(number, result)

    def _count(self, result: Result, by: int) -> None:
        labelled = self.view.label_attribute in result.attributes
        spent = sum(answer["timeSpentInSeconds"] for answer in result.all_answers)
        self.counts = replace(
            self.counts,
            labelled=self.counts.labelled + by * labelled,
            failed=self.counts.failed + by * (not labelled),
            answered=self.counts.answered + by * (result.answer is not None),
            seconds=self.counts.seconds + by * spent,
        )

    def check(self, number: int) -> None:
        """Raise NotConsolidated or MalformedPrelabel for a task that a browser could not show as the template says."""
        line = self.tasks.line(number)
        if self.view.kind == "tracking":
            self._check_sequence(line)
            return
        if self.view.kind == "cuboids":
            self._check_scene(line)
            return
        self._check_images(line)
        for box in self.view.prelabels(line):
            # The crowd element refuses initial values with a label that it does not offer.
            if box.label not in self.view.labels:
                raise NotConsolidated(f"The label {box.label!r} is not in the label category file")
        if shown := self.view.segments(line):
            self._check_image("the segments", shown[0])
            for name in (meant["class-name"] for meant in shown[1].values()):
                if name not in (*self.view.labels, BACKGROUND["class-name"]):
                    raise NotConsolidated(f"The label {name!r} is not in the label category file")

    def _check_sequence(self, line: Mapping[str, Any]) -> None:
        try:
            sequence = self.view.sequence(line)
        except BadSequence as e:
            raise NotConsolidated(str(e)) from e
        self._check_access("the output path", self._files.place, _VIDEO_METHODS)
        for frame in sequence.frames:
            self._check_image("frame", str(frame.uri), _VIDEO_METHODS)

    def _check_scene(self, line: Mapping[str, Any]) -> None:
        try:
            scene = self.view.scene(line)
        except BadSequence as e:
            raise NotConsolidated(str(e)) from e
        self._check_access("the output path", self._files.place, _VIDEO_METHODS)
        self._check_access("the points", scene.cloud, _VIDEO_METHODS)
        for image in scene.images:
            self._check_image("picture", str(image.uri), _VIDEO_METHODS)

    def _check_images(self, line: Mapping[str, Any]) -> None:
        """Raise NotConsolidated for an image that is missing, has another type, or is hidden by CORS."""
        for name in sorted(self._template.images):
            if name not in line:
                raise NotConsolidated(f"The line has no attribute {name!r}, which the worker template shows")
            self._check_image(name, line[name])

    def _check_image(self, name: str, text: Any, methods: Set[str] = frozenset({"GET"})) -> None:
        if not str(text).lower().endswith(_IMAGE_TYPES):
            raise NotConsolidated(f"{name} {text} is not an image of type {', '.join(_IMAGE_TYPES)}")
        try:
            uri = S3Uri.parse(text)
            self._check_access(name, uri, methods)
            self._objects.check_exists(uri)
        except (StorageError, ValueError) as e:
            raise NotConsolidated(f"{name}: {e}") from e

    def _check_access(self, name: str, uri: S3Uri, methods: Set[str]) -> None:
        """Raise NotConsolidated when CORS hides a place from browsers."""
        try:
            if uri.bucket not in self._open_buckets:
                self._open_buckets[uri.bucket] = self._browsers.allowed(uri.bucket)
        except StorageError as e:
            raise NotConsolidated(f"{name}: {e}") from e
        if missing := methods - self._open_buckets[uri.bucket]:
            verbs = ", ".join(sorted(missing))
            raise NotConsolidated(f"The bucket {uri.bucket} has no CORS rule that lets browsers {verbs} {uri}")


def _blank(size: tuple[int, int] | None) -> bytes:
    """Make a picture without segments."""
    if size is None:
        raise NotConsolidated("The answer does not state the image's size")
    picture = Image.new("P", size)
    picture.putpalette(bytes.fromhex(BACKGROUND["hex-color"][1:]))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
