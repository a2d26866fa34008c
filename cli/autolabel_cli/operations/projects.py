"""Progress of reviewers in Label Studio, read from the run's execution, so that no token of Label Studio is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from autolabel.verification import LABEL_STUDIO
from autolabel_cli.operations.drive_status import ProjectStatus, hourly

# States of a job's iteration in statemachine/label_drive.asl.yaml: its project is created, then reviewers work in it.
OPENING = frozenset({"Back-end?", "OpenProject"})
OPEN = frozenset({"AwaitPeople", "LookAtProject", "Project annotated?"})


class _Iteration(msgspec.Struct):
    """Data that a job's iteration of Verify passes from state to state. `first` identifies the iteration."""

    first: int
    back_end: str
    name: str
    frames: int
    job: str = ""
    output: str = ""
    looks: int = 0
    done: int = 0
    total: int = 0
    whole: int = 0
    round: int = 1
    # Milliseconds since the epoch; 0 in runs of earlier versions.
    opened: float = 0


def open_projects(events: Iterable[Mapping[str, Any]]) -> list[ProjectStatus]:
    """Find the projects that a run of version 0.1.0 in Verify waits for, in the order of its jobs.

    `events`: the history of its execution, the latest first.
    """
    found: dict[int, ProjectStatus | None] = {}
    for event in events:
        if event.get("stateEnteredEventDetails", {}).get("name") == "Verify":
            break
        iteration = _iteration(event)
        if iteration and iteration.first not in found:
            found[iteration.first] = _project(event, iteration)
    return [project for _, project in sorted(found.items()) if project]


def open_project(events: Iterable[Mapping[str, Any]]) -> ProjectStatus | None:
    """Find the project that a job of a run waits for. `events`: of the job's own execution, the latest first."""
    for event in events:
        if iteration := _iteration(event):
            return _project(event, iteration)
    return None


def _iteration(event: Mapping[str, Any]) -> _Iteration | None:
    try:
        return msgspec.json.decode(event.get("stateEnteredEventDetails", {}).get("input", ""), type=_Iteration)
    except msgspec.DecodeError:
        # The input of another state, or one that Step Functions truncated.
        return None


def _project(event: Mapping[str, Any], one: _Iteration) -> ProjectStatus | None:
    state, at = event["stateEnteredEventDetails"]["name"], event["timestamp"].timestamp()
    if one.back_end != LABEL_STUDIO or state not in OPENING | OPEN:
        return None
    whole = one.whole if one.round > 1 else 0
    if state in OPENING:
        return ProjectStatus(one.name, "", one.frames, whole=whole)
    # A further round begins with the counts of the one before it, and zero looks.
    if not one.looks:
        return ProjectStatus(one.job, one.output, one.frames, whole=whole)
    # AwaitPeople begins right after a count. Of a look under way, the time of the count before it is not known here.
    pace = hourly(one.done, at - one.opened / 1_000) if state == "AwaitPeople" and one.opened else None
    return ProjectStatus(one.job, one.output, one.frames, one.done, one.total, whole, pace)
