"""A person's decision to close a drive without a log whose extraction failed, or that never came."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from autolabel.aws import SqsSubmitQueue
from autolabel.contracts.frames import LOG_DOCUMENT, is_name, logs_prefix
from autolabel.contracts.logs import LogRecord, log_document_key, parse_log_document
from autolabel.contracts.wording import counted
from autolabel.drives import recorded_logs
from autolabel_cli.drives.existence import invalid_name
from autolabel_cli.drives.log_status import LogStatus, read_logs
from autolabel_cli.errors import CommandError
from autolabel_cli.operations.interventions import Intervention, caller
from autolabel_cli.stack import Stack


def close_without(stack: Stack, drive: str, names: Sequence[str], now: float) -> Intervention:
    """Leave logs out of a drive, which is closed when its other logs have ended; a repeated call changes nothing.

    `now`: seconds since the epoch. CommandError, before anything is recorded, for a log that has ended, is being
    extracted or is unknown, and for a drive that is closed or none of whose logs came.
    """
    if not is_name(drive):
        raise invalid_name(drive)
    names = tuple(dict.fromkeys(names))
    statuses = {log.name: log for log in read_logs(stack, drive)}
    left_out = [name for name in names if name in statuses and statuses[name].by]
    which = f"{'log' if len(names) == 1 else 'logs'} {', '.join(names)}"
    if latest := stack.ledger.latest_run(drive):
        if len(left_out) == len(names):
            return Intervention(drive, latest.run, "already", f"drive {drive} is closed without {which} already")
        raise CommandError(f"drive {drive} is closed, its latest run is {latest.run}: no log can be left out of it")
    listing = stack.ingest.list(logs_prefix(drive))
    known = {key.name: (thing.etag, record) for key, thing, record in recorded_logs(listing, stack.ledger, drive)}
    if not known:
        raise CommandError(f"no log of drive {drive} has come: it is closed by a drive.json, not without logs")
    for name in names:
        _check(stack, drive, name, statuses.get(name))
    who = caller(stack)
    detail = f"left out by {who} on {datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC"
    for name in names:
        if name not in left_out:
            etag, record = known.get(name, ("", None))
            attempt = record.attempt if record else 1
            decided = LogRecord(drive, name, etag, "refused", now, attempt, detail=detail, by=who)
            if not stack.ledger.leave_out_log(decided, record):
                raise CommandError(f"log {name} of drive {drive} has changed meanwhile: see autolabel status {drive}")
    # Also when all were left out before: that call may have ended here.
    SqsSubmitQueue(stack.client("sqs"), stack.output("SubmitQueueUrl")).look_at_logs(drive)
    others = sum(1 for name, (_, record) in known.items() if name not in names and not (record and record.ended))
    after = f", once its {counted(others, 'other log has', 'other logs have')} ended" if others else ""
    return Intervention(
        drive, "", "left-out", f"drive {drive} is closed without {which}{after}; autolabel status {drive} shows it"
    )


def _check(stack: Stack, drive: str, name: str, status: LogStatus | None) -> None:
    """CommandError for a log that cannot be left out. `status`: None for one that did not come."""
    if status is None:
        key = log_document_key(drive)
        body = stack.ingest.read(key)
        if body is None or name not in parse_log_document(body, key).logs:
            raise CommandError(f"drive {drive} has no log {name!r}, and its {LOG_DOCUMENT} does not name it")
    elif status.state == "extracting":
        raise CommandError(f"log {name} of drive {drive} is being extracted: wait until that has ended")
    elif status.state not in ("failed", "waiting") and not status.by:
        raise CommandError(f"log {name} of drive {drive} was {status.state}, and does not keep the drive open")
