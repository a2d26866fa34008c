"""Label Studio in memory."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from autolabel.contracts.errors import VerificationRefused
from autolabel.verification.label_studio.client import (
    FULL_PAGE,
    INCOMPLETE,
    OPEN,
    ConnectedStorage,
    Filter,
    Named,
    RegisteredWebhook,
)
from autolabel.verification.label_studio.results import Annotation, Task

# Methods for tests, which are not calls of the API.
_NO_CALLS = ("before", "after", "annotate", "kept", "restore")


class Killed(Exception):
    """The function was killed here."""


class FakeLabelStudio:
    """`autolabel.verification.label_studio.projects.LabelStudio` in dicts.

    It calls `before` and `after` around every call, with the number of the call (from 1) and its name.
    """

    def __init__(self) -> None:
        self.projects: dict[int, dict[str, Any]] = {}
        self.rows: dict[int, dict[str, Any]] = {}
        self.hooks: dict[int, list[RegisteredWebhook]] = {}
        self.connected: dict[int, list[ConnectedStorage]] = {}
        self.before: Callable[[int, str], None] = lambda number, name: None
        self.after: Callable[[int, str], None] = lambda number, name: None
        self.calls: list[str] = []
        # How often a write is carried out: Label Studio on SQLite repeats it when its database is locked.
        self.times = 1
        self._ids = itertools.count(1)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or name in _NO_CALLS or not callable(found):
            return found

        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            number = len(self.calls)
            self.before(number, name)
            result = found(*arguments)
            self.after(number, name)
            return result

        return call

    def annotate(self, task: int, annotation: Annotation) -> None:
        """Add a reviewer's answer, or their skipping of the task."""
        self.rows[task]["annotations"].append(annotation)

    def kept(self) -> dict[str, Any]:
        """All that it holds as JSON, by its place."""
        things: dict[str, Any] = {f"projects/{i}": fields for i, fields in self.projects.items()}
        for i, row in self.rows.items():
            things[f"rows/{i}"] = {name: value for name, value in row.items() if name != "annotations"}
            things[f"annotations/{i}"] = row["annotations"]
        things |= {f"hooks/{i}": hooks for i, hooks in self.hooks.items()}
        things |= {f"connected/{i}": storages for i, storages in self.connected.items()}
        kept: dict[str, Any] = msgspec.to_builtins(things)
        return kept

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Replace all content by what was kept."""
        of: dict[str, dict[int, Any]] = {kind: {} for kind in ("projects", "rows", "annotations", "hooks", "connected")}
        for place, value in copy.deepcopy(dict(kept)).items():
            kind, _, number = place.partition("/")
            of[kind][int(number)] = value
        self.projects, self.rows = of["projects"], of["rows"]
        for i, row in self.rows.items():
            row["annotations"] = msgspec.convert(of["annotations"][i], list[Annotation])
        self.hooks = msgspec.convert(of["hooks"], dict[int, list[RegisteredWebhook]])
        self.connected = msgspec.convert(of["connected"], dict[int, list[ConnectedStorage]])
        ids = [*self.projects, *self.rows, *(hook.id for hooks in self.hooks.values() for hook in hooks)]
        self._ids = itertools.count(max(ids, default=0) + 1)

    def find_projects(self, title: str) -> list[Named]:
        return [Named(i, title) for i, fields in sorted(self.projects.items()) if fields["title"] == title]

    def create_project(self, fields: Mapping[str, Any]) -> int:
        for _ in range(self.times):
            self.projects[project := next(self._ids)] = dict(fields)
        return project

    def delete_project(self, project: int) -> None:
        self.projects.pop(project, None)
        self.rows = {i: row for i, row in self.rows.items() if row["project"] != project}

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        self._chosen(project)
        for task in list(tasks) * self.times:
            # A request carries JSON.
            sent = msgspec.json.decode(msgspec.json.encode(task))
            self.rows[next(self._ids)] = {**sent, "project": project, "annotations": []}

    def tasks(self, project: int, filters: Sequence[Filter] = ()) -> Iterator[Task]:
        return iter([Task(i, row["data"]) for i, row in self._chosen(project, filters)])

    def count_tasks(self, project: int, filters: Sequence[Filter] = ()) -> int:
        return len(self._chosen(project, filters))

    def annotated_tasks(self, project: int, ids: Sequence[int]) -> list[Task]:
        assert 0 < len(ids) <= FULL_PAGE
        return [Task(i, row["data"], list(row["annotations"])) for i, row in self._chosen(project) if i in ids]

    def change_data(self, task: int, data: Mapping[str, Any]) -> None:
        self.rows[task]["data"] = dict(data)

    def delete_task(self, task: int) -> None:
        self.rows.pop(task, None)

    def webhooks(self, project: int) -> list[RegisteredWebhook]:
        return list(self.hooks.get(project, []))

    def register_webhook(self, project: int, url: str, headers: Mapping[str, str], known: int | None = None) -> None:
        hooks = [hook for hook in self.hooks.get(project, []) if hook.id != known]
        self.hooks[project] = [*hooks, RegisteredWebhook(known or next(self._ids), url, dict(headers))]

    def storages(self, project: int) -> list[ConnectedStorage]:
        return list(self.connected.get(project, []))

    def connect_storage(self, project: int, bucket: str) -> None:
        self.connected.setdefault(project, []).append(ConnectedStorage(next(self._ids), bucket))

    def _chosen(self, project: int, filters: Sequence[Filter] = ()) -> list[tuple[int, dict[str, Any]]]:
        if project not in self.projects:
            raise VerificationRefused("gone", "404")
        jobs = {value for field, _, _, value in filters if field == "data.job"}
        is_open, is_incomplete = set(OPEN) <= set(filters), set(INCOMPLETE) <= set(filters)
        asked = self.projects[project].get("maximum_annotations", 1)
        return [
            (i, row)
            for i, row in sorted(self.rows.items())
            if row["project"] == project
            and (not jobs or row["data"].get("job") in jobs)
            and not (is_open and row["annotations"])
            and not (is_incomplete and len({one.completed_by for one in row["annotations"]}) >= asked)
        ]
