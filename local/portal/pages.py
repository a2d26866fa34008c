"""The portal's pages around the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from local.sagemaker.ground_truth.labeling_job import LabelingJob

_CROWD_ELEMENTS = "https://assets.crowd.aws/crowd-html-elements.js"
_OWN_ELEMENTS = "/static/crowd-elements.js"
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages"), autoescape=True, undefined=StrictUndefined
)


def job_list(jobs: Sequence[LabelingJob]) -> str:
    """Render the list of jobs: those that wait for reviewers first, then the newest."""
    rows = [_row(job) for job in reversed(jobs)]
    rows.sort(key=lambda row: row["status"] != "InProgress")
    return _PAGES.get_template("jobs.html").render(jobs=rows)


def notice(title: str, text: str, again: bool = False, way: tuple[str, str] | None = None) -> str:
    """Render a page of one message. `again`: reload it regularly. `way`: path and text of its button."""
    return _PAGES.get_template("notice.html").render(title=title, text=text, way=way, again=again)


def all_done(job: str, jobs: Sequence[LabelingJob]) -> str:
    """Render the page after a job's last frame, with a way to the next job or a regular reload."""
    text = "All frames of this job are reviewed. Thank you."
    waiting = [other.name for other in jobs if other.name != job and _waits(other)]
    if waiting:
        return notice("All done", f"{text} Another job is waiting.", way=(f"/jobs/{waiting[0]}/", "Next job"))
    return notice("All done", f"{text} Frames that need a second review appear here as a new job.", again=True)


def others_at_work(job: str) -> str:
    """Render the page of a worker for whom only frames of other workers are left."""
    text = "A frame that they leave comes to you. If they are gone, take a frame over: the first answer counts."
    return notice(
        "Other reviewers have the last frames", text, again=True, way=(f"/jobs/{job}/left", "Take a frame over")
    )


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
    return job.status == "InProgress" and job.counts.labelled + job.counts.failed < job.counts.total


def _row(job: LabelingJob) -> dict[str, object]:
    counts = job.counts
    done = counts.labelled + counts.failed
    return {
        "name": job.name,
        "title": job.title,
        "status": job.status,
        "done": done,
        "waits": _waits(job),
        "total": counts.total,
        "failed": counts.failed,
        "percent": round(100 * done / counts.total, 1) if counts.total else 0,
        "seconds": f"{counts.seconds / counts.answered:.1f}" if counts.answered else None,
    }
