"""Let a scripted annotator answer a job's tasks, several at once, in the manifest's order."""

from __future__ import annotations

import io
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from PIL import Image, UnidentifiedImageError

from local.sagemaker.ground_truth.annotation_files import worker_answer
from local.sagemaker.ground_truth.annotators import (
    Annotator,
    AnsweredBy,
    Boxes,
    Failure,
    JobFails,
    JobStops,
    MalformedPrelabel,
    Segments,
)
from local.sagemaker.ground_truth.consolidation import NotConsolidated, stated_size
from local.sagemaker.ground_truth.desk import Desk
from local.sagemaker.ground_truth.sequences import BadSequence
from local.sagemaker.names import S3Uri
from local.sagemaker.ports import StorageError

_log = logging.getLogger(__name__)
WORKER = "scripted"


def answer_all(desk: Desk, annotator: Annotator, at_once: int) -> None:
    """Answer tasks until all are done or the job is stopped; raises JobFails, JobStops and StorageError."""
    numbers = iter(range(desk.tasks.total))
    lock = threading.Lock()
    failed = threading.Event()

    def work() -> None:
        while not (desk.view.stopping.is_set() or failed.is_set()):
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                _answer(desk, annotator, number)
            except BaseException:
                failed.set()
                raise

    with ThreadPoolExecutor(at_once, thread_name_prefix=f"tasks-{desk.view.name}") as pool:
        for worker in [pool.submit(work) for _ in range(at_once)]:
            worker.result()


def _answer(desk: Desk, annotator: Annotator, number: int) -> None:
    """Answer one open task as each of its workers; answers are dropped if the job is stopped before they come."""
    several = desk.tasks.workers > 1
    for worker in [f"{WORKER}-{i + 1}" for i in range(desk.tasks.workers)] if several else [WORKER]:
        if desk.tasks.is_open(number) and not desk.tasks.sent(number, worker):
            _answer_as(worker, desk, annotator, number)


def _answer_as(worker: str, desk: Desk, annotator: Annotator, number: int) -> None:
    line = desk.tasks.line(number)
    accepted = time.time()
    try:
        desk.check(number)
        annotation = annotator(line, replace(desk.view, worker=worker))
        if desk.view.stopping.is_set():
            return
        if isinstance(annotation, Failure):
            raise NotConsolidated(annotation.reason)
        if isinstance(annotation, AnsweredBy):
            worker, annotation = annotation.worker, annotation.annotation
        if isinstance(annotation, Boxes | Segments):
            annotation = replace(annotation, image=stated_size(line) or _measure(desk, number))
        if isinstance(annotation, Segments):
            annotation = desk.painted(number, annotation)
        submitted = time.time()
        content = desk.content(number, annotation)
        desk.submit(number, annotation, worker_answer(worker, content, accepted, submitted, submitted - accepted))
    except (NotConsolidated, MalformedPrelabel, BadSequence) as e:
        desk.fail(number, str(e))
    except (JobFails, JobStops, StorageError):
        raise
    # An error in a test's annotator fails its task only.
    except Exception as e:
        _log.exception("labelling job %s: %s", desk.view.name, line.get("source-ref"))
        desk.fail(number, f"The annotator failed: {type(e).__name__}: {e}")


def _measure(desk: Desk, number: int) -> tuple[int, int]:
    """Return the size of a task's image in pixels, as a browser finds it; raises NotConsolidated."""
    uri = desk.shown_image(number)
    try:
        body = desk.open_image(S3Uri.parse(uri or "")).body
        try:
            with Image.open(io.BytesIO(body.read()), formats=["PNG", "JPEG"]) as image:
                return image.size
        finally:
            body.close()
    except UnidentifiedImageError as e:
        raise NotConsolidated(f"{uri} is neither a JPEG nor a PNG image") from e
    except (OSError, ValueError, StorageError) as e:
        raise NotConsolidated(f"{uri}: {e}") from e
