"""Checks that the logs of a drive became their frames: each is there once, with the right bytes, and counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from autolabel.contracts.logs import LogFolder, LogRecord
from tools.chaos.log_fleet import SentLog
from tools.chaos.stage import Stage

TopicCounts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class LogEvidence:
    """What is there of the logs of a drive. `sent`: all logs that the fleet put, the oldest first.

    puts: how often each object of the drive was put, logs left out, by its name in the drive's folder. frames: the ETag
    of each frame, by its name. records: what the ledger has of the logs. extractions: the status of each execution, by
    its name. counts: by the ids of logs, the messages of each topic: all, extracted, skipped and refused ones.
    """

    drive: str
    sent: tuple[SentLog, ...] = ()
    puts: Counter[str] = field(default_factory=Counter)
    frames: dict[str, str] = field(default_factory=dict)
    records: tuple[LogRecord, ...] = ()
    extractions: dict[str, str] = field(default_factory=dict)
    counts: dict[str, TopicCounts] = field(default_factory=dict)


def log_problems(evidence: LogEvidence) -> Iterator[str]:
    """Find frames of logs that are lost, doubled or of wrong bytes, and logs that did not end or do not add up."""
    last = {log.name: log for log in evidence.sent}
    wanted = {name for log in last.values() for name in log.pictures}
    for name in sorted(wanted - evidence.frames.keys()):
        yield f"no frame {name} came of the logs"
    for name, etag in evidence.frames.items():
        # Of two logs with one timestamp, and of a log and the one that replaces it, the first to come stays.
        if etag not in (allowed := {log.pictures[name] for log in evidence.sent if name in log.pictures}):
            yield f"frame {name} has the ETag {etag}, not one of {sorted(allowed)}"
    repeated = {name for log in evidence.sent for name in log.repeated}
    for name, count in evidence.puts.items():
        if count > 1 + (name in repeated):
            yield f"{name} was written {count} times"
    if "drive.json" not in evidence.puts:
        yield "the drive was not closed"
    overwritten = len(last) < len(evidence.sent)
    for log in last.values():
        yield from _end_problems(evidence, log, exact=not overwritten)


def _end_problems(evidence: LogEvidence, log: SentLog, *, exact: bool) -> Iterator[str]:
    """Find what is wrong with the end of a log. `exact`: no other log has another picture of the same timestamp."""
    record = next((one for one in evidence.records if (one.name, one.etag) == (log.name, log.etag)), None)
    if record is None or record.state != "extracted":
        yield f"the ledger has of {log.name}: {record}"
        return
    if evidence.extractions.get(record.execution) != "SUCCEEDED":
        yield f"the extraction of {log.name} is {evidence.extractions.get(record.execution)}"
    counts = evidence.counts.get(LogFolder(evidence.drive, log.name, log.etag).id, {})
    if {topic: count["messages"] for topic, count in counts.items()} != dict(log.messages):
        yield f"the summary of {log.name} counts {counts}, but the log has {dict(log.messages)}"
    for topic, count in counts.items():
        if count["messages"] != count["extracted"] + count["skipped"] or count["refused"]:
            yield f"the counts of topic {topic} of {log.name} do not add up: {count}"
    totals = sum(map(Counter, counts.values()), Counter[str]())
    counted = (record.messages, sum(record.cameras.values()), record.skipped, record.left)
    if counted != (totals["messages"], totals["extracted"], totals["skipped"], totals["refused"]):
        yield f"the ledger counts {counted} of {log.name}, and its summary {dict(totals)}"
    if exact and totals["extracted"] != len(log.pictures):
        yield f"{log.name} has {len(log.pictures)} frames, and {totals['extracted']} are counted"


def gather_logs(stage: Stage, drive: str, sent: Sequence[SentLog]) -> LogEvidence:
    """Collect the evidence of a drive's logs."""
    prefix = f"drives/{drive}/"
    versions = (
        stage.client("s3")
        .get_paginator("list_object_versions")
        .paginate(Bucket=stage.stack.ingest.name, Prefix=prefix)
        .search("Versions")
    )
    names = (version["Key"].removeprefix(prefix) for version in versions if version)
    frames = {thing.key.removeprefix(prefix): thing.etag for thing in stage.stack.ingest.list(prefix)}
    folders = {LogFolder(drive, log.name, log.etag) for log in sent}
    return LogEvidence(
        drive,
        tuple(sent),
        Counter(name for name in names if not name.startswith("logs/")),
        {name: etag for name, etag in frames.items() if not name.startswith("logs/") and name != "drive.json"},
        tuple(stage.stack.ledger.logs(drive)),
        dict(extractions(stage, drive)),
        {folder.id: _counts(stage.stack.labels.read(folder.summary)) for folder in folders},
    )


def extractions(stage: Stage, drive: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the status of each extraction of a drive's logs."""
    machine = stage.stack.outputs["ExtractMachineArn"]
    pages = stage.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=machine)
    for execution in (one for page in pages for one in page["executions"]):
        if execution["name"].startswith(f"{drive}-"):
            yield execution["name"], execution["status"]


def _counts(summary: bytes | None) -> TopicCounts:
    """Read the counts of a summary by topic; none if it is not there or not complete."""
    found = json.loads(summary or b"{}")
    if found.get("unread") or not found.get("complete", True):
        return {}
    return {
        topic: {
            "messages": of["messages"],
            "extracted": of["extracted"],
            **{name: sum(of[name].values()) for name in ("skipped", "refused")},
        }
        for topic, of in found.get("topics", {}).items()
    }
