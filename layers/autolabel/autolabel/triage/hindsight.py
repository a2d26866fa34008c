"""Hindsight: what a policy would have accepted of frames that people have seen, and what would have gone wrong.

Faults and bounds are of the frames that people saw. Where a policy spared them the least doubtful frames, these count
by their audits alone, so that the more doubtful ones weigh more: the bounds are rather too low than too high.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from autolabel.contracts.verification import BLIND_AUDIT
from autolabel.labelling.uncertainty import frame_level
from autolabel.labels.agreement import ClassAgreement
from autolabel.triage.audits import PRECISION, RECALL
from autolabel.triage.bounds import lower_bound, proves
from autolabel.triage.policy import ANY_CLASS


class Reviewed(msgspec.Struct, frozen=True, omit_defaults=True, rename={"candidates": "ghosts"}):
    """A line of reviewed.jsonl: what triage and people made of one frame of a published run, in the drive's order.

    `position`: its place among the camera's frames, from 0. `triage`: one of its kinds. `boxes`, `ghosts`, `failed`,
    `level`: its doubt; `level` is None without a pre-label. `claims`: what it claims, by class. `verified`: whether a
    person left a label; `classes`: what became of its boxes then. `seconds`: active ones, where they are known.
    """

    key: str
    camera: str
    position: int
    triage: str
    level: float | None = None
    boxes: tuple[float, ...] = ()
    candidates: tuple[float, ...] = ()
    failed: float = 0.0
    claims: tuple[str, ...] = ()
    verified: bool = False
    classes: dict[str, ClassAgreement] = {}
    seconds: float | None = None


class Bound(msgspec.Struct, frozen=True):
    """What is proven of a class and side."""

    trials: int
    errors: int
    bound: float


class Outcome(msgspec.Struct, frozen=True, rename={"max_uncertainty": "max_doubt"}):
    """What a setting would have come to.

    `acceptable`: frames of little doubt. Of these: `accepted`, whose classes are all `proven`; `seen` by people, of
    them `blind`, `faulty` in anything, and the faults by kind; `seconds` that people spent on `timed` of them with the
    pre-label in sight. `bounds`: by class and side, of the seen ones.
    """

    max_uncertainty: float
    floor: float
    frames: int
    acceptable: int
    accepted: int
    seen: int
    blind: int
    faulty: int
    missed: int
    false_alarms: int
    misnamed: int
    misplaced: int
    seconds: float
    timed: int
    proven: tuple[str, ...]
    bounds: dict[str, dict[str, Bound]]


class Hindsight:
    """Gathers what one setting would have come to; frames of a run are taken in its order.

    `floor`: candidates under it are no doubt. `target`: what bounds must reach. `segment`: so many frames of a camera
    are one trial of an object.
    """

    def __init__(self, max_uncertainty: float, floor: float, *, target: float, stretch: int) -> None:
        self._max_uncertainty, self._floor = max_uncertainty, floor
        self._target, self._segment = target, stretch
        self._frames = 0
        self._claims: Counter[frozenset[str]] = Counter()
        self._counts: Counter[str] = Counter()
        self._seconds = 0.0
        self._trials = _Trials()

    def take(self, drive: str, frame: Reviewed) -> None:
        self._frames += 1
        if (
            frame.level is None
            or frame_level(frame.boxes, frame.candidates, frame.failed, self._floor) > self._max_uncertainty
        ):
            return
        self._claims[frozenset({ANY_CLASS, *frame.claims})] += 1
        if not frame.verified:
            return
        self._trials.take(f"{drive}/{frame.camera}/{frame.position // self._segment}", frame.classes)
        blind = frame.triage == BLIND_AUDIT
        of = frame.classes.values()
        self._counts["seen"] += 1
        self._counts["blind"] += blind
        self._counts["faulty"] += any(one.faults for one in of)
        self._counts["missed"] += sum(one.added for one in of)
        self._counts["false_alarms"] += sum(one.deleted for one in of)
        self._counts["misnamed"] += sum(one.relabelled for one in of)
        self._counts["misplaced"] += sum(one.moved for one in of)
        if frame.seconds is not None and not blind:
            self._counts["timed"] += 1
            self._seconds += frame.seconds

    def outcome(self) -> Outcome:
        bounds = self._trials.bounds()
        proven = {
            name
            for name, sides in bounds.items()
            if all(proves(b.trials, b.errors, self._target) for b in sides.values())
        }
        kinds = ("seen", "blind", "faulty", "missed", "false_alarms", "misnamed", "misplaced", "timed")
        return Outcome(
            max_uncertainty=self._max_uncertainty,
            floor=self._floor,
            frames=self._frames,
            acceptable=self._claims.total(),
            accepted=sum(count for claimed, count in self._claims.items() if claimed <= proven),
            seconds=round(self._seconds, 1),
            proven=tuple(sorted(proven)),
            bounds=bounds,
            **{kind: self._counts[kind] for kind in kinds},
        )


def best_setting(outcomes: Iterable[Outcome], floor: float) -> Outcome | None:
    """The largest `max_doubt` whose bounds hold at a floor of doubt: of those that accept most, the strictest."""
    held = [one for one in outcomes if one.floor == floor and one.accepted]
    return max(held, key=lambda one: (one.accepted, -one.max_uncertainty), default=None)


class _Trials:
    """Objects of the frames that people saw, by class and side, each segment's once.

    Which boxes of neighbouring frames are one object is not recorded: a segment has as many objects as its fullest
    frame, and as many errors as all its frames have, at most one for each object.
    """

    def __init__(self) -> None:
        self._segment = ""
        self._most: Counter[tuple[str, str]] = Counter()
        self._wrong: Counter[tuple[str, str]] = Counter()
        self._trials: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[tuple[str, str]] = Counter()

    def take(self, stretch: str, classes: Mapping[str, ClassAgreement]) -> None:
        if stretch != self._segment:
            self._close()
            self._segment = stretch
        found = missed = 0
        for name, of in classes.items():
            self._count(name, PRECISION, of.kept, of.moved + of.relabelled + of.deleted)
            self._count(name, RECALL, of.kept + of.moved, of.added + of.gained)
            found += of.kept + of.moved + of.gained
            missed += of.added
        self._count(ANY_CLASS, RECALL, found, missed)

    def bounds(self) -> dict[str, dict[str, Bound]]:
        """What is proven of each class and side of which there was an object."""
        self._close()
        found: dict[str, dict[str, Bound]] = {}
        for (name, side), trials in sorted(self._trials.items()):
            errors = self._errors[name, side]
            found.setdefault(name, {})[side] = Bound(trials, errors, round(lower_bound(trials, errors), 6))
        # What has only one side lacks the proof of the other.
        for name, sides in found.items():
            for side in () if name == ANY_CLASS else (PRECISION, RECALL):
                sides.setdefault(side, Bound(0, 0, 0.0))
        return found

    def _count(self, name: str, side: str, right: int, wrong: int) -> None:
        if right + wrong:
            self._most[name, side] = max(self._most[name, side], right + wrong)
            self._wrong[name, side] += wrong

    def _close(self) -> None:
        for key, most in self._most.items():
            self._trials[key] += most
            self._errors[key] += min(most, self._wrong[key])
        self._most.clear()
        self._wrong.clear()
