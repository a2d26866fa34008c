"""One planned fault: its place, its kind and how often it is injected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FAULT_KINDS: Mapping[str, frozenset[str]] = {
    # A message from S3 or SNS to a queue.
    "delivery": frozenset({"drop", "double", "delay", "reorder"}),
    # A request to the gateway. error: refused and not carried out. lost: carried out, but answered with an error. kill:
    # its function is killed, before or after the request is carried out.
    "call": frozenset({"error", "lost", "kill-before", "kill-after"}),
    # An invocation of a function. slow: the function has ended, and its result is held back.
    "invocation": frozenset({"kill-before", "kill-after", "slow"}),
    # A labelling job. unlabelled: its objects fail one by one. half-failed: it fails when a part is answered.
    # half-answered: the rest stays open until the job is stopped or the faults end. late-manifest, no-manifest: the
    # same, and when it is stopped, its output manifest comes `seconds` later or never.
    "job": frozenset(
        {"failed", "stopped", "unlabelled", "half-failed", "half-answered", "late-manifest", "no-manifest"}
    ),
}


class FaultError(ValueError):
    """A fault that the embedded cloud cannot inject."""


@dataclass(frozen=True)
class Fault:
    """A fault is injected into matches with `probability`, at most `times` times, after the first `skip` matches.

    target: part of the name of the queue or of the object's key (delivery), of the calling function or state machine
    (call), of the function (invocation) or of the job. service, operation, code: of a call, in the names of botocore
    and AWS. seconds: duration of a delay, of a slow result or until a late manifest, and the longest wait of a
    reordered message.
    """

    point: str
    kind: str
    target: str = ""
    service: str = ""
    operation: str = ""
    code: str = ""
    probability: float = 1.0
    times: int = 1
    skip: int = 0
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS.get(self.point, ()):
            raise FaultError(f"a {self.point!r} has no fault {self.kind!r}")
        if self.point == "call" and self.kind in ("error", "lost") and not self.code:
            raise FaultError(f"the fault {self!s} needs the code of its error")

    def __str__(self) -> str:
        what = " ".join(part for part in (self.operation or self.service, self.code) if part)
        return " ".join(part for part in (self.point, self.kind, what, self.target and f"at {self.target}") if part)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
