"""Bills: metered use, priced for a million frames."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from autolabel.reporting import Prices
from local import Usage

# Who calls as the account itself: uploaders, and the notebook.
ACCOUNT = "account"
# The frame's and its answer's: no design avoids them.
UNAVOIDABLE_PUTS = 2
# The callers that work for reviewers: Ground Truth, and the function that reads what it leaves.
_REVIEWING = ("LabelingRole", "VerifyFunction")
_NAME = re.compile(r"[^-]+-(.+?)(?:-[0-9A-Z]{4,})?\Z")


@dataclass(frozen=True)
class Line:
    """The use of one operation by one caller, for a million frames. `each`: units for one frame."""

    service: str
    operation: str
    caller: str
    each: float
    dollars: float


@dataclass(frozen=True)
class Bill:
    """What a way of labelling costs for a million frames; the dearest line first."""

    name: str
    frames: int
    lines: tuple[Line, ...]

    @classmethod
    def of(cls, name: str, used: Iterable[Usage], frames: int, prices: Prices) -> Bill:
        """Price the use of some frames. CommandError for an operation without a price."""
        amounts = defaultdict[tuple[str, str, str], float](float)
        for usage in used:
            amounts[usage.service, usage.operation, short_name(usage.caller)] += usage.units
        lines = (
            Line(*place, units / frames, prices.dollars(*place[:2], units) * 1e6 / frames)
            for place, units in amounts.items()
        )
        return cls(name, frames, tuple(sorted(lines, key=lambda line: -line.dollars)))

    @property
    def dollars(self) -> float:
        return sum(line.dollars for line in self.lines)

    def without_puts(self, prices: Prices) -> float:
        """Return the price without the PUTs that no design avoids."""
        return self.dollars - prices.dollars("s3", "PutObject", UNAVOIDABLE_PUTS * 1e6)

    def grouped(self, key: Callable[[Line], str]) -> list[tuple[str, float]]:
        """Return the dollars by a property of the lines, the largest first."""
        sums = defaultdict[str, float](float)
        for line in self.lines:
            sums[key(line)] += line.dollars
        return sorted(sums.items(), key=lambda item: -item[1])


def short_name(caller: str) -> str:
    """Shorten the name of a stack's function, role or state machine to its logical name."""
    found = _NAME.match(caller.split("/")[0])
    return found[1] if found else caller or ACCOUNT


def without_reviews(used: Iterable[Usage]) -> list[Usage]:
    """Leave out what reviews need: it depends on how many frames reviewers get."""
    return [usage for usage in used if short_name(usage.caller) not in _REVIEWING]


def of_uploads(used: Iterable[Usage]) -> list[Usage]:
    """Keep of the account's own use what an uploader does; looks of the measuring tool do not count."""
    return [usage for usage in used if usage.caller or (usage.service, usage.operation) == ("s3", "PutObject")]


def of_notebook(used: Sequence[Usage]) -> list[Usage]:
    """Keep what a notebook and its endpoint use; the stack's functions also hear of these answers."""
    return [u for u in used if not u.caller or (short_name(u.caller) == "EndpointRole" and u.service == "s3")]
