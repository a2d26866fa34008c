"""The portal's pages around the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from local.sagemaker.ground_truth.labeling_job import LabelingJob
from local.sagemaker.ground_truth.labeling_requests import Kind

_CROWD_ELEMENTS = "https://assets.crowd.aws/crowd-html-elements.js"
_OWN_ELEMENTS = "/static/crowd-elements.js"
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages"), autoescape=True, undefined=StrictUndefined
)


def unit(kind: Kind) -> str:
    """Return the word for what reviewers get at a time in jobs of a kind."""
    return "strip" if kind == "tracking" else "frame"


def job_list(jobs: Sequence[LabelingJob], one_person: bool) -> str:
    """Render the list of jobs: those that wait for reviewers first, then the newest.

    `one_person`: a person may give both looks.
    """
    rows = [_row(job) for job in reversed(jobs)]
    rows.sort(key=lambda row: row["status"] != "InProgress")
    return _PAGES.get_template("jobs.html").render(jobs=rows, one_person=one_person)


def notice(
    title: str, text: str, again: bool = False, way: tuple[str, str] | None = None, one_person: bool | None = None
) -> str:
    """Render a page of one message. `again`: reload it regularly. `way`: path and text of its button.

    `one_person`: shows the setting of second looks.
    """
    page = _PAGES.get_template("notice.html")
    return page.render(title=title, text=text, way=way, again=again, one_person=one_person)


def all_done(job: LabelingJob, jobs: Sequence[LabelingJob]) -> str:
    """Render the page after a job's last task, with a way to the next job or a regular reload."""
    text = f"All {unit(job.kind)}s of this job are reviewed. Thank you."
    if way := _next_job(job, jobs):
        return notice("All done", f"{text} Another job is waiting.", way=way)
    return notice("All done", f"{text} What needs a second review appears here as a new job.", again=True)


def other_person(job: LabelingJob, jobs: Sequence[LabelingJob], alone: bool) -> str:
    """Render the page of a worker who gave the first look to what is left. `alone`: no other worker has come."""
    text = f"You gave these {unit(job.kind)}s their first look, so another person gives them the second one."
    if alone:
        text += " No other person has worked here yet. The team's lead may let one person give both looks."
    return notice("Another person is needed", text, again=True, way=_next_job(job, jobs), one_person=False)


def others_at_work(job: LabelingJob) -> str:
    """Render the page of a worker for whom only tasks of other workers are left."""
    one = unit(job.kind)
    text = f"A {one} that they leave comes to you. If they are gone, take a {one} over: the first answer counts."
    way = (f"/jobs/{job.name}/left", f"Take a {one} over")
    return notice(f"Other reviewers have the last {one}s", text, again=True, way=way)


def _next_job(job: LabelingJob, jobs: Sequence[LabelingJob]) -> tuple[str, str] | None:
    waiting = [other.name for other in jobs if other is not job and _waits(other)]
    return (f"/jobs/{waiting[0]}/", "Next job") if waiting else None


def task_page(job: str, number: int, rendered: str) -> str:
    """Wrap a rendered worker template as a page with the portal's own crowd elements."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(job)} · {number + 1}</title></head>\n"
        f"<body>{rendered.replace(_CROWD_ELEMENTS, _OWN_ELEMENTS)}</body></html>\n"
    )


def sequence_page(job: str, number: int) -> str:
    """Render the page of a tracking task, which reads its sequence itself."""
    return _PAGES.get_template("sequence.html").render(job=job, number=number + 1)


def _waits(job: LabelingJob) -> bool:
    counts = job.counts
    return not job.scripted and job.status == "InProgress" and counts.labelled + counts.failed < counts.total


def _row(job: LabelingJob) -> dict[str, object]:
    counts = job.counts
    done = counts.labelled + counts.failed
    return {
        "name": job.name,
        "title": job.title,
        "unit": unit(job.kind),
        "status": job.status,
        "done": done,
        "waits": _waits(job),
        "total": counts.total,
        "failed": counts.failed,
        "scripted": job.scripted,
        "percent": round(100 * done / counts.total, 1) if counts.total else 0,
        "seconds": f"{counts.seconds / counts.answered:.1f}" if counts.answered else None,
    }
