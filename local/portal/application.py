"""Answer the portal's requests."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from local.portal.drafts import Drafts
from local.portal.pages import all_done, job_list, notice, other_person, others_at_work, sequence_page, task_page, unit
from local.portal.proposals import proposed_boxes
from local.portal.sessions import Session
from local.sagemaker.ground_truth.annotation_files import accepted_at, worker_answer
from local.sagemaker.ground_truth.annotators import Annotation, Failure, MalformedPrelabel, Segments
from local.sagemaker.ground_truth.consolidation import NotConsolidated
from local.sagemaker.ground_truth.desk import Desk
from local.sagemaker.ground_truth.labeling_job import LabelingJob
from local.sagemaker.ground_truth.labeling_jobs import LabelingJobs
from local.sagemaker.ground_truth.sequences import BadSequence, VideoSequence
from local.sagemaker.ground_truth.worker_answers import (
    BadAnswer,
    answer_content,
    read_answer,
    read_tracks,
    tracks_content,
)
from local.sagemaker.ground_truth.worker_pages import BadPage
from local.sagemaker.ports import StorageError
from local.web.exchange import PageRefused, Request, Response, json_response, redirect
from local.web.files import LIBRARIES, StaticFiles
from local.web.protection import check_origin

# 2,000 frames of 100 tracks fit.
BODY_BYTES = 8 << 20
# The longest time limit of an image task (API reference, HumanTaskConfig.TaskTimeLimitInSeconds: 8 hours).
_MOST_SECONDS = 28_800
STATIC = Path(__file__).parent / "static"
_ANNOTORIOUS = [
    LIBRARIES / "@annotorious" / "annotorious" / "dist" / name for name in ("annotorious.es.js", "annotorious.css")
]
_TAKEN = "This {} is for another reviewer."
_ANSWERED = "This {} is already answered."
_IMAGE_TYPES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg"}


class Application:
    """The portal of the jobs; `hosts`: the hosts with ports under which browsers may reach it."""

    def __init__(self, jobs: LabelingJobs, hosts: Set[str]) -> None:
        self._jobs = jobs
        self._hosts = hosts
        self._drafts = Drafts()
        self._files = StaticFiles(STATIC, _ANNOTORIOUS)
        self._workers: set[str] = set()
        task = r"/jobs/(?P<job>[A-Za-z0-9-]+)/tasks/(?P<number>[0-9]{1,6})"
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Response]]] = [
            ("GET", re.compile(r"/"), self._list_jobs),
            ("POST", re.compile(r"/second-looks/(?P<by>one-person|another-person)"), self._set_second_looks),
            ("GET", re.compile(r"/jobs/(?P<job>[A-Za-z0-9-]+)/"), self._next_task),
            ("GET", re.compile(r"/jobs/(?P<job>[A-Za-z0-9-]+)/left"), self._take_over),
            ("GET", re.compile(task), self._show_task),
            ("GET", re.compile(task + "/context"), self._tell_context),
            ("GET", re.compile(r"/jobs/(?P<job>[A-Za-z0-9-]+)/frames"), self._list_frames),
            ("GET", re.compile(task + "/sequence"), self._tell_sequence),
            ("PUT", re.compile(task + "/draft"), self._keep_draft),
            ("POST", re.compile(task + "/answer"), self._take_answer),
            ("GET", re.compile(r"/images/(?P<ticket>[A-Za-z0-9_-]+)"), self._show_image),
            ("GET", re.compile(r"/static/(?P<name>[A-Za-z0-9._-]+)"), self._show_file),
        ]

    def respond(self, request: Request) -> Response:
        """Answer a request, or refuse it: with JSON for scripts, with a page for people."""
        session = Session(request)
        try:
            check_origin(request, self._hosts)
            response = self._route(request, session)
        except PageRefused as e:
            if request.method == "GET" and not request.path.endswith(("/context", "/sequence")):
                job = self._jobs.find(e.members["job"]) if "job" in e.members else None
                way = (f"/jobs/{job.name}/", f"Next {unit(job.kind)}") if job else None
                page = notice("This did not work", e.message, way=way)
                response = Response(e.status, page.encode(), headers={"Cache-Control": "no-store"})
            else:
                response = json_response(e.status, {"error": e.message, **e.members})
        if session.cookie:
            headers = {**response.headers, "Set-Cookie": session.cookie}
            response = Response(response.status, response.body, response.content_type, headers)
        return response

    def _route(self, request: Request, session: Session) -> Response:
        for method, path, act in self._routes:
            found = path.fullmatch(request.path)
            if found and method != request.method:
                raise PageRefused(405, f"This address does not accept {request.method}.")
            if found:
                return act(request, session, **found.groupdict())
        raise PageRefused(404, "This page does not exist.")

    def _list_jobs(self, request: Request, session: Session) -> Response:
        return _page(job_list(list(self._jobs), self._jobs.one_person))

    def _set_second_looks(self, request: Request, session: Session, by: str) -> Response:
        self._jobs.allow_one_person(by == "one-person")
        return Response(204)

    def _next_task(self, request: Request, session: Session, job: str) -> Response:
        found = self._job(job)
        desk = found.desk
        if desk is None:
            if found.status == "Initializing":
                return _page(notice("One moment", "This job is starting.", again=True))
            if found.status == "Completed":
                return _page(all_done(found, list(self._jobs)))
            text = f"Its status is {found.status}. No {unit(found.kind)}s are left to review."
            return _page(notice("This job has ended", text))
        desk.tasks.arrive(session.worker, None)
        self._workers.add(session.worker)
        number = desk.tasks.take(session.worker, desk.time_limit)
        if number is not None:
            return redirect(_task(found.name, number))
        if desk.tasks.keeps_from(session.worker):
            return _page(other_person(found, list(self._jobs), alone=len(self._workers) == 1))
        if desk.tasks.done < desk.tasks.total:
            return _page(others_at_work(found))
        return _page(all_done(found, list(self._jobs)))

    def _take_over(self, request: Request, session: Session, job: str) -> Response:
        desk = self._desk(job)
        number = desk.tasks.take_over(session.worker, desk.time_limit)
        return redirect(f"/jobs/{job}/" if number is None else _task(job, number))

    def _show_task(self, request: Request, session: Session, job: str, number: str) -> Response:
        desk, task = self._place(job, number)
        if not desk.tasks.lease(task, session.worker, desk.time_limit):
            reason = _TAKEN if desk.tasks.is_open(task) else _ANSWERED
            raise PageRefused(409, reason.format(unit(desk.view.kind)), job=job)
        if desk.view.kind == "tracking":
            return _page(sequence_page(job, task))
        try:
            return _page(task_page(job, task, desk.render(task)))
        except BadPage as e:
            desk.fail(task, str(e))
            raise PageRefused(500, f"This frame cannot be shown: {e}", job=job) from e

    def _list_frames(self, request: Request, session: Session, job: str) -> Response:
        desk = self._desk(job)
        frames = [
            {"url": _task(job, number), "name": name, "state": state}
            for number, (name, state) in enumerate(desk.tasks.states(session.worker))
        ]
        return json_response(200, {"frames": frames})

    def _tell_context(self, request: Request, session: Session, job: str, number: str) -> Response:
        desk, task = self._place(job, number)
        desk.tasks.arrive(session.worker, task)
        following = desk.tasks.take(session.worker, desk.time_limit, leaving=task)
        before, after = (self._neighbour(desk, task, neighbour) for neighbour in desk.tasks.neighbours(task))
        draft = self._drafts.find((desk.view.name, task, session.worker))
        sent = desk.tasks.sent(task, session.worker)
        return json_response(
            200,
            {
                "job": job,
                "task": task,
                "done": desk.tasks.done,
                "total": desk.tasks.total,
                "next": None if following is None else _task(job, following),
                "next_image": self._image(desk, following),
                "before": before,
                "after": after,
                "proposed": [] if sent else [asdict(box) for box in proposed_boxes(desk, task)],
                "draft": json.loads(draft) if draft else None,
                "sent": _told(sent["answerContent"]) if sent else None,
            },
        )

    def _tell_sequence(self, request: Request, session: Session, job: str, number: str) -> Response:
        """Tell the frames and the tracks of a tracking task: those that its worker sent, else those to adjust."""
        desk, task = self._place(job, number)
        if desk.view.sequences is None:
            raise PageRefused(404, "This task is not a sequence.")
        sequence = self._sequence(desk, task)
        sent = desk.tasks.sent(task, session.worker)
        categories = desk.view.sequences.categories
        tracks = desk.view.sequences.read_label(sent["answerContent"]) if sent else sequence.shown
        return json_response(
            200,
            {
                "title": desk.view.title,
                "description": desk.view.description,
                "instructions": msgspec.to_builtins(categories.instructions),
                "labels": list(categories.labels),
                "frames": [
                    {
                        "name": frame.name,
                        "time": frame.timestamp,
                        "image": self._jobs.tickets.grant(desk.view.name, str(frame.uri)),
                    }
                    for frame in sequence.frames
                ],
                "tracks": tracks_content(tracks, sequence),
                "candidates": tracks_content(sequence.candidates, sequence),
            },
        )

    def _keep_draft(self, request: Request, session: Session, job: str, number: str) -> Response:
        desk, task = self._place(job, number)
        _json_of(request.body)
        if desk.tasks.result(task) and not desk.tasks.sent(task, session.worker):
            raise PageRefused(409, _ANSWERED.format(unit(desk.view.kind)))
        desk.tasks.stay(session.worker, task)
        self._drafts.keep((desk.view.name, task, session.worker), request.body)
        return Response(204)

    def _take_answer(self, request: Request, session: Session, job: str, number: str) -> Response:
        desk, task = self._place(job, number)
        document = _json_of(request.body)
        try:
            if not isinstance(document, dict) or "answerContent" not in document:
                raise BadAnswer("an answer must be an object with answerContent")
            content = document["answerContent"]
            annotation: Annotation | Failure
            if desk.view.kind == "tracking":
                annotation = read_tracks(content, desk.view, self._sequence(desk, task))
                content = {**desk.content(task, annotation), "review": str(content.get("review", ""))}
            else:
                annotation = read_answer(content, desk.view)
        except BadAnswer as e:
            raise PageRefused(422, str(e)) from e
        except BadSequence as e:
            raise PageRefused(422, f"The tracks cannot be taken: {e}") from e
        if isinstance(annotation, Failure):
            if not desk.tasks.is_open(task):
                raise PageRefused(409, _ANSWERED.format(unit(desk.view.kind)), **_way_on(desk, task, session, job))
            desk.fail(task, annotation.reason)
            return json_response(200, _way_on(desk, task, session, job))
        if isinstance(annotation, Segments):
            try:
                annotation = desk.painted(task, annotation)
            except (NotConsolidated, MalformedPrelabel) as e:
                raise PageRefused(500, f"The segments cannot be read: {e}") from e
            content = answer_content(annotation)
        earlier = desk.tasks.sent(task, session.worker)
        # The response to the same answer may have been lost.
        if not (earlier and earlier["answerContent"] == content):
            submitted = time.time()
            accepted = accepted_at(earlier) if earlier else desk.tasks.accepted(task, session.worker) or submitted
            spent = _active_seconds(content, submitted - accepted)
            answer = worker_answer(session.worker, content, accepted, submitted, spent)
            try:
                taken = desk.submit(task, annotation, answer)
            except StorageError as e:
                raise PageRefused(500, f"The answer could not be stored: {e}") from e
            if not taken:
                raise PageRefused(409, _ANSWERED.format(unit(desk.view.kind)), **_way_on(desk, task, session, job))
        way_on = _way_on(desk, task, session, job)
        self._drafts.drop((desk.view.name, task, session.worker))
        return json_response(200, way_on)

    def _show_image(self, request: Request, session: Session, ticket: str) -> Response:
        granted = self._jobs.tickets.redeem(ticket)
        if granted is None:
            raise PageRefused(404, "This image does not exist.")
        job, uri = granted
        # The type comes from the key: S3's type came with the upload, and must not decide what a browser makes of it.
        kind = _IMAGE_TYPES.get(uri.key.rpartition(".")[2].lower(), "application/octet-stream")
        try:
            stored = self._desk(job).open_image(uri)
        except StorageError as e:
            raise PageRefused(404, f"The image cannot be read: {e}") from e
        try:
            body = stored.body.read()
        finally:
            stored.body.close()
        return Response(200, body, kind, {"Cache-Control": "private, max-age=86400, immutable"})

    def _show_file(self, request: Request, session: Session, name: str) -> Response:
        return self._files.serve(name)

    def _job(self, job: str) -> LabelingJob:
        found = self._jobs.find(job)
        if found is None:
            raise PageRefused(404, "This job does not exist.")
        if found.scripted:
            raise PageRefused(409, "A script answers this job: the portal has no page of points.")
        return found

    def _desk(self, job: str) -> Desk:
        found = self._job(job)
        if found.desk is None:
            raise PageRefused(410, f"This job takes no answers: its status is {found.status}.")
        return found.desk

    def _place(self, job: str, number: str) -> tuple[Desk, int]:
        desk = self._desk(job)
        if int(number) >= desk.tasks.total:
            raise PageRefused(404, f"This {unit(desk.view.kind)} does not exist.")
        return desk, int(number)

    def _sequence(self, desk: Desk, task: int) -> VideoSequence:
        try:
            return desk.view.sequence(desk.tasks.line(task))
        except BadSequence as e:
            raise PageRefused(500, f"The sequence cannot be read: {e}") from e

    def _neighbour(self, desk: Desk, task: int, number: int | None) -> dict[str, Any] | None:
        """Return the image and the boxes of a task's neighbour, None without an image."""
        image = self._image(desk, number)
        if image is None or number is None:
            return None
        return {"image": image, "boxes": [] if desk.starts_empty(task) else [asdict(box) for box in desk.boxes(number)]}

    def _image(self, desk: Desk, number: int | None) -> str | None:
        """Return the path of a task's image, None without one."""
        uri = None if number is None else desk.shown_image(number)
        return uri and self._jobs.tickets.grant(desk.view.name, uri)


def _page(html: str) -> Response:
    return Response(200, html.encode(), headers={"Cache-Control": "no-store"})


def _told(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out the tracks of an answer, which the sequence has."""
    return {name: value for name, value in content.items() if name != "tracking-annotations"}


def _task(job: str, number: int) -> str:
    return f"/jobs/{job}/tasks/{number}"


def _way_on(desk: Desk, task: int, session: Session, job: str) -> dict[str, str | None]:
    following = desk.tasks.take(session.worker, desk.time_limit, leaving=task)
    return {"next": None if following is None else _task(job, following)}


def _json_of(body: bytes) -> Any:
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
        # JSON can write half of a surrogate pair, the job's files cannot.
        json.dumps(document, ensure_ascii=False).encode()
        return document
    except (ValueError, RecursionError) as e:
        raise PageRefused(422, f"The body is not JSON: {e}") from e


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _active_seconds(content: Mapping[str, Any], otherwise: float) -> float:
    """Return the seconds that the template recorded in `review`; `otherwise` when they are unusable."""
    try:
        seconds = json.loads(content["review"])["seconds"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return otherwise
    usable = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds <= _MOST_SECONDS
    return float(seconds) if usable else otherwise
