"""One planned fault: where it strikes, how, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

FAULT_KINDS: Mapping[str, frozenset[str]] = {
    # A message on its way from S3 or SNS to a queue.
    "delivery": frozenset({"drop", "double", "delay", "reorder"}),
    # A request to the gateway. error: refused unseen. lost: carried out, and the answer is an error. kill: its function
    # dies of it, before or after the request was carried out.
    "call": frozenset({"error", "lost", "kill-before", "kill-after"}),
    # An invocation of a function. slow: the function is done, and its result is held back.
    "invocation": frozenset({"kill-before", "kill-after", "slow"}),
    # A labelling job. unlabelled: its objects fail one by one.
    "job": frozenset({"failed", "stopped", "unlabelled"}),
}


class FaultError(ValueError):
    """A fault that nothing here can inject."""


@dataclass(frozen=True)
class Fault:
    """A fault strikes what matches it with `probability`, at most `times` times, after `skip` matches went by.

    target: what the name of the queue or the key of the object, of the calling function or state machine, of the
    function or of the job must hold. service, operation, code: of a call, as botocore and AWS name them. seconds: how
    long a delay or a slow result takes; a reordered message waits as long at most.
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
            raise FaultError(f"there is no fault {self.kind!r} of a {self.point!r}")
        if self.point == "call" and self.kind in ("error", "lost") and not self.code:
            raise FaultError(f"the call fault {self} needs the code of its error")

    def __str__(self) -> str:
        what = " ".join(part for part in (self.operation or self.service, self.code) if part)
        return " ".join(part for part in (self.point, self.kind, what, self.target and f"at {self.target}") if part)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
