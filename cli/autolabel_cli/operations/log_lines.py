"""Log lines of a drive, from the log groups of all functions and state machines of the stack."""

from __future__ import annotations

import heapq
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import ClientError

from autolabel.aws import error_code
from autolabel.contracts.drive import FIRST_RUN, execution_name
from autolabel.contracts.frames import drive_prefix
from autolabel_cli.drives.existence import check_drive
from autolabel_cli.stack import Stack

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Lines that were written just before the end of a window arrive later.
_SLACK_SECONDS = 60
# The clocks of functions differ a little, and a line becomes visible some seconds after it was written.
_LATE_SECONDS = 30
_POLL_SECONDS = 2.0
# Calls of each function whose other lines are looked up, and those of one query: a pattern has 1,024 characters.
_MOST_REQUESTS = 200
_REQUESTS_IN_QUERY = 20
# The uploads that are looked at to find the first one.
_UPLOADS_LOOKED_AT = 1_000
_REQUEST = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_ROUTINE = re.compile(r"(START|END|REPORT|INIT_START|XRAY)\b")
_BROKEN = re.compile(r"\[ERROR\]|Task timed out|Runtime exited|Runtime\.\w+")
_PLATFORM_TROUBLE = ("error", "timeout", "failure")
_KNOWN = frozenset(
    {"level", "location", "message", "timestamp", "service", "cold_start", "function_name", "function_memory_size"}
    | {"function_arn", "function_request_id", "xray_trace_id", "requestId", "time", "type"}
)


class LogLine(msgspec.Struct, frozen=True):
    """A line of a log. `source`: whose log, such as `submit`. `request`: id of the function's call, if it is known.

    `more`: the line's other fields; `Any`, because each line has its own.
    """

    at: datetime
    source: str
    level: str
    message: str
    request: str = ""
    more: dict[str, Any] = {}


class Window(NamedTuple):
    """Time in which lines are read, in seconds since the epoch. `until`: None without an end."""

    since: float
    until: float | None


class LogLines(msgspec.Struct, frozen=True):
    """Lines of a drive in the order of time. `complete`: False when there are more than were asked for."""

    drive: str
    since: datetime
    until: datetime | None
    complete: bool
    lines: tuple[LogLine, ...]


class DriveLog:
    """Reads the lines of a drive. `level`: the lowest that counts."""

    def __init__(self, stack: Stack, drive: str, level: str = "INFO") -> None:
        check_drive(stack, drive)
        self._stack = stack
        self._drive = drive
        self._level = LEVELS.index(level)
        self._logs = stack.client("logs")
        self._groups = {_source(name): group for name, group in stack.resources("AWS::Logs::LogGroup").items()}
        # A name is part of longer ones: drive-7 of drive-70. The name of an execution is a drive's, with its run.
        self._named = re.compile(rf"(?<![\w-]){re.escape(drive)}(?:-\d{{4}})?(?![\w-])")

    def window(self, run: str | None = None, since: float | None = None, until: float | None = None) -> Window:
        """Return the time to read: that of a run, or from the drive's first upload until now, unless it is given."""
        if since is None:
            since = max(0.0, self._begin(run) - _SLACK_SECONDS)
        if until is None and run and (ended := self._end(run)):
            until = ended + _SLACK_SECONDS
        return Window(since, until)

    def read(self, window: Window, limit: int) -> LogLines:
        """Read the first `limit` lines of a window, in the order of their times."""
        with ThreadPoolExecutor(max(1, len(self._groups))) as pool:
            found = list(pool.map(lambda source: self._of_group(source, window, limit + 1), self._groups))
        lines = list(itertools.islice(heapq.merge(*found, key=attrgetter("at")), limit + 1))
        until = None if window.until is None else _time(window.until)
        return LogLines(self._drive, _time(window.since), until, len(lines) <= limit, tuple(lines[:limit]))

    def follow(self, window: Window, limit: int, pause: Callable[[float], None] = time.sleep) -> Iterator[LogLine]:
        """Yield the lines of a window and those to come, until the drive's latest run has ended."""
        told = set[tuple[datetime, str, str]]()
        since, ended = window.since, False
        while True:
            found = self.read(Window(since, None), limit)
            lines, known = found.lines, len(told)
            for line in lines:
                key = (line.at, line.source, line.message)
                if key not in told:
                    told.add(key)
                    yield line
            if not found.complete and len(told) == known:
                # More lines of one moment than the limit: the same ones would come for ever.
                limit *= 2
            if lines:
                since = max(since, lines[-1].at.timestamp() - (_LATE_SECONDS if found.complete else 0))
                told = {key for key in told if key[0].timestamp() >= since}
            if not found.complete:
                continue
            if ended:
                return
            latest = self._stack.ledger.latest_run(self._drive)
            status = latest and self._stack.executions.status(execution_name(self._drive, latest.run))
            ended = bool(status) and status != "RUNNING"
            pause(_LATE_SECONDS / 3 if ended else _POLL_SECONDS)

    def _begin(self, run: str | None) -> float:
        first = self._stack.ledger.find_run(self._drive, run or FIRST_RUN)
        if run:
            return first.since if first else 0.0
        uploads = itertools.islice(self._stack.ingest.list(drive_prefix(self._drive)), _UPLOADS_LOOKED_AT)
        times = [thing.modified for thing in uploads] + ([first.since] if first and first.since else [])
        return min(times, default=0.0)

    def _end(self, run: str) -> float | None:
        arn = self._stack.execution_arn(execution_name(self._drive, run))
        try:
            found = self._stack.client("stepfunctions").describe_execution(executionArn=arn)
        except ClientError as e:
            if error_code(e) == "ExecutionDoesNotExist":
                return None
            raise
        return found["stopDate"].timestamp() if "stopDate" in found and found["status"] != "RUNNING" else None

    def _of_group(self, source: str, window: Window, limit: int) -> list[LogLine]:
        """Read the lines of a group that name the drive, and the others of their calls, in the order of time."""
        named, seen = list[LogLine](), set[tuple[datetime, str]]()
        wanted = 0
        for line in self._matching(source, window, f'"{self._drive}"'):
            if self._is_of_drive(line):
                named.append(line)
                seen.add((line.at, line.message))
                wanted += self._is_wanted(line)
            if wanted == limit:
                break
        requests = list(dict.fromkeys(line.request for line in named if line.request))[:_MOST_REQUESTS]
        others = list[LogLine]()
        for first in range(0, len(requests), _REQUESTS_IN_QUERY):
            asked = requests[first : first + _REQUESTS_IN_QUERY]
            for line in self._matching(source, window, " ".join(f'?"{request}"' for request in asked)):
                if line.request in asked and (line.at, line.message) not in seen and not self._is_of_another(line):
                    others.append(line)
        return sorted(filter(self._is_wanted, [*named, *others]), key=attrgetter("at"))[:limit]

    def _matching(self, source: str, window: Window, pattern: str) -> Iterator[LogLine]:
        more = {} if window.until is None else {"endTime": int(window.until * 1_000)}
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=self._groups[source], startTime=int(window.since * 1_000), filterPattern=pattern, **more
        )
        for page in pages:
            for event in page["events"]:
                yield parse_line(source, event["timestamp"] / 1_000, event["message"])

    def _is_wanted(self, line: LogLine) -> bool:
        return LEVELS.index(line.level) >= self._level

    def _is_of_drive(self, line: LogLine) -> bool:
        return not self._is_of_another(line) and any(self._named.search(text) for text in _texts(line))

    def _is_of_another(self, line: LogLine) -> bool:
        drive = line.more.get("drive")
        if isinstance(drive, str):
            return drive != self._drive
        keys = set(re.findall(r"drives/([\w-]+)/", " ".join(_texts(line))))
        return bool(keys) and self._drive not in keys


def parse_line(source: str, at: float, text: str) -> LogLine:
    """Read a line: one of the functions' logger, of Lambda itself, of Step Functions, or plain text."""
    text = text.rstrip("\n")
    try:
        # `Any`: a line may have any JSON.
        fields = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        level = "DEBUG" if _ROUTINE.match(text) else "ERROR" if _BROKEN.search(text) else "INFO"
        request = _REQUEST.search(text)
        return LogLine(_time(at), source, level, text, request[0] if request else "")
    kind = str(fields.get("type", ""))
    record = fields.get("record")
    if kind.startswith("platform.") and isinstance(record, dict):
        level = "ERROR" if record.get("status") in _PLATFORM_TROUBLE else "DEBUG"
        more = {name: value for name, value in record.items() if name != "requestId"}
        return LogLine(_time(at), source, level, kind, str(record.get("requestId", "")), more)
    if "execution_arn" in fields:
        level = "ERROR" if re.search("Failed|TimedOut|Aborted", kind) else "INFO"
        return LogLine(_time(at), source, level, kind, "", {n: v for n, v in fields.items() if n != "type"})
    level = str(fields.get("level", "INFO")).upper()
    message = fields.get("message", "")
    return LogLine(
        _time(at),
        source,
        {"WARN": "WARNING", "FATAL": "CRITICAL", "TRACE": "DEBUG"}.get(level, level if level in LEVELS else "INFO"),
        message if isinstance(message, str) else msgspec.json.encode(message).decode(),
        str(fields.get("function_request_id") or fields.get("requestId") or ""),
        {name: value for name, value in fields.items() if name not in _KNOWN},
    )


def _texts(line: LogLine) -> Iterable[str]:
    return line.message, msgspec.json.encode(line.more).decode()


def _source(logical_id: str) -> str:
    """Return whose log a group is: `submit` for SubmitLogs, `label-drive` for LabelDriveLogs."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", logical_id.removesuffix("Logs")).lower()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
