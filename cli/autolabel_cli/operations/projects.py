"""How far people are in Label Studio, as a run's execution tells it: no token of Label Studio is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from autolabel.verification.jobs import LABEL_STUDIO
from autolabel_cli.operations.drive_status import ProjectStatus

# States of a job's iteration in statemachine/label_drive.asl.yaml in which its project is opened, and worked in.
OPENING = frozenset({"Back-end?", "OpenProject"})
OPEN = frozenset({"AwaitPeople", "LookAtProject", "Project annotated?"})


class _Iteration(msgspec.Struct):
    """What a job's iteration of Verify carries from state to state; `first` tells it from the others."""

    first: int
    back_end: str
    name: str
    frames: int
    job: str = ""
    output: str = ""
    looks: int = 0
    done: int = 0
    total: int = 0


def open_projects(events: Iterable[Mapping[str, Any]]) -> list[ProjectStatus]:
    """The projects that a run in Verify waits for, in the order of its jobs.

    `events`: the history of its execution, the latest first.
    """
    found: dict[int, ProjectStatus | None] = {}
    for event in events:
        entered = event.get("stateEnteredEventDetails", {})
        if entered.get("name") == "Verify":
            break
        try:
            iteration = msgspec.json.decode(entered.get("input", ""), type=_Iteration)
        except msgspec.DecodeError:
            # Another state's input, or one that Step Functions cut off.
            continue
        if iteration.first not in found:
            found[iteration.first] = _project(entered["name"], iteration)
    return [project for _, project in sorted(found.items()) if project]


def _project(state: str, one: _Iteration) -> ProjectStatus | None:
    if one.back_end != LABEL_STUDIO or state not in OPENING | OPEN:
        return None
    if state in OPENING:
        return ProjectStatus(one.name, "", one.frames)
    # Another round begins with the counts of the one before, and no look.
    looked = one.looks > 0
    return ProjectStatus(one.job, one.output, one.frames, one.done if looked else None, one.total if looked else None)
