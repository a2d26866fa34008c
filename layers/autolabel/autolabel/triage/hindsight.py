"""Hindsight: compute which of the reviewed frames a policy would have accepted, and the faults in them.

Faults and bounds count only frames that people saw. If a policy accepted the most certain frames, only their audits
count. So uncertain frames weigh more, and the bounds tend to be too low.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from autolabel.contracts.verification import BLIND_AUDIT, VerifyUncertain
from autolabel.labelling.uncertainty import frame_level
from autolabel.labelling.uncertainty_map import UncertaintyMap, calibrated
from autolabel.labels.agreement import ClassAgreement
from autolabel.triage.audits import PRECISION, RECALL
from autolabel.triage.capital import alpha_of, lower_bound
from autolabel.triage.policy import ANY_CLASS


class Reviewed(msgspec.Struct, frozen=True, omit_defaults=True, rename={"candidates": "ghosts"}):
    """A line of reviewed.jsonl: triage and review of one frame of a published run, in the drive's order.

    `position`: among the camera's frames, from 0. `triage`: the frame kind. `boxes`, `candidates`, `failed`, `level`:
    its uncertainty; `level` is None without a pre-label. `claims`: the classes that it shows. `verified`: whether a
    person left a label; then `classes` has the counts of edits by class. `seconds`: active seconds, if known.
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
    """The objects of a class and side (`trials`), the wrong ones, and the lower bound of the share that is right.

    `stretches`: with such objects. The bound is the highest target that they would have proven in blind audits.
    """

    trials: int
    errors: int
    bound: float
    stretches: int = 0


class Outcome(msgspec.Struct, frozen=True, rename={"max_uncertainty": "max_doubt"}):
    """Result of a setting.

    `acceptable`: frames up to `max_uncertainty`. The other counts are of these frames. `accepted`: those whose classes
    are all `proven`. `seen`: those that people saw; among them `blind`, `faulty` (with any fault), and the faults by
    kind. `seconds`: the time that people spent on `timed` seen frames with the pre-label in sight. `bounds`: of the
    seen frames, by class and side. `saved`: the share of the reviewers' time, in which they look at all frames, that
    the setting saves with its proven classes; `most_saved`: once all classes are proven; None if the time is not known.
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
    saved: float | None = None
    most_saved: float | None = None


class Hindsight:
    """Computes the result of one setting. Frames of a run are taken in its order.

    `floor`: candidates below it add no uncertainty. `policy`: the target that bounds must reach, the number of frames
    in an audit stretch, and the share of the acceptable frames that is audited. `uncertainty_map`: gives the frames'
    uncertainty.
    """

    def __init__(
        self,
        max_uncertainty: float,
        floor: float,
        policy: VerifyUncertain,
        uncertainty_map: UncertaintyMap | None = None,
    ) -> None:
        self._max_uncertainty, self._floor = max_uncertainty, floor
        self._policy, self._uncertainty_map = policy, uncertainty_map
        self._frames = 0
        self._claims: Counter[frozenset[str]] = Counter()
        self._counts: Counter[str] = Counter()
        self._time, self._time_of_others = _Time(), _Time()
        self._trials = _Trials()

    def take(self, drive: str, frame: Reviewed) -> None:
        self._frames += 1
        if not self._is_acceptable(frame):
            self._time_of_others.take(frame)
            return
        self._time.take(frame)
        self._claims[frozenset({ANY_CLASS, *frame.claims})] += 1
        if not frame.verified:
            return
        self._trials.take(f"{drive}/{frame.camera}/{frame.position // self._policy.stretch}", frame.classes)
        blind = frame.triage == BLIND_AUDIT
        of = frame.classes.values()
        self._counts["seen"] += 1
        self._counts["blind"] += blind
        self._counts["faulty"] += any(one.faults for one in of)
        self._counts["missed"] += sum(one.added for one in of)
        self._counts["false_alarms"] += sum(one.deleted for one in of)
        self._counts["misnamed"] += sum(one.relabelled for one in of)
        self._counts["misplaced"] += sum(one.moved for one in of)

    def outcome(self) -> Outcome:
        bounds = self._trials.bounds()
        proven = {
            name for name, sides in bounds.items() if all(side.bound >= self._policy.target for side in sides.values())
        }
        kinds = ("seen", "blind", "faulty", "missed", "false_alarms", "misnamed", "misplaced")
        accepted = sum(count for claimed, count in self._claims.items() if claimed <= proven)
        return Outcome(
            max_uncertainty=self._max_uncertainty,
            floor=self._floor,
            frames=self._frames,
            acceptable=self._claims.total(),
            accepted=accepted,
            seconds=round(self._time.seconds, 1),
            timed=self._time.frames,
            proven=tuple(sorted(proven)),
            bounds=bounds,
            saved=self._saved(accepted),
            most_saved=self._saved(self._claims.total()),
            **{kind: self._counts[kind] for kind in kinds},
        )

    def _is_acceptable(self, frame: Reviewed) -> bool:
        if frame.level is None:
            return False
        level = frame_level(frame.boxes, frame.candidates, frame.failed, self._floor)
        return calibrated(level, self._uncertainty_map) <= self._max_uncertainty

    def _saved(self, accepted: int) -> float | None:
        """Compute the share of the reviewers' time that accepting some frames saves; a part of them is audited."""
        acceptable = self._claims.total()
        within, others = self._time.of(acceptable), self._time_of_others.of(self._frames - acceptable)
        if within is None or others is None or not within + others:
            return None
        return round((1.0 - self._policy.audit) * within * accepted / max(acceptable, 1) / (within + others), 4)


class _Time:
    """The time that reviewers took for frames with the pre-label in sight, as far as it is known."""

    def __init__(self) -> None:
        self.frames = 0
        self.seconds = 0.0

    def take(self, frame: Reviewed) -> None:
        if frame.verified and frame.seconds is not None and frame.triage != BLIND_AUDIT:
            self.frames += 1
            self.seconds += frame.seconds

    def of(self, frames: int) -> float | None:
        """Return the seconds that some such frames take in the mean; None if that is not known."""
        if not frames:
            return 0.0
        return frames * self.seconds / self.frames if self.frames else None


def best_setting(outcomes: Iterable[Outcome], floor: float) -> Outcome | None:
    """Return the setting with this floor that accepts the most frames; if several do, the least `max_uncertainty`."""
    held = [one for one in outcomes if one.floor == floor and one.accepted]
    return max(held, key=lambda one: (one.accepted, -one.max_uncertainty), default=None)


class _Trials:
    """Counts the objects of the frames that people saw, by class, side and audit stretch.

    The log does not record which boxes of neighbouring frames are one object. So a stretch counts as many objects as
    its fullest frame has, and the errors of all its frames, at most one for each object.
    """

    def __init__(self) -> None:
        self._stretch = ""
        self._most: Counter[tuple[str, str]] = Counter()
        self._wrong: Counter[tuple[str, str]] = Counter()
        # The number of stretches by class and side, and by wrong objects and objects.
        self._stretches: dict[tuple[str, str], Counter[tuple[int, int]]] = {}

    def take(self, stretch: str, classes: Mapping[str, ClassAgreement]) -> None:
        if stretch != self._stretch:
            self._close()
            self._stretch = stretch
        found = missed = 0
        for name, of in classes.items():
            self._count(name, PRECISION, of.kept, of.moved + of.relabelled + of.deleted)
            self._count(name, RECALL, of.kept + of.moved, of.added + of.gained)
            found += of.kept + of.moved + of.gained
            missed += of.added
        self._count(ANY_CLASS, RECALL, found, missed)

    def bounds(self) -> dict[str, dict[str, Bound]]:
        """Return the bound of each class and side that had an object."""
        self._close()
        found: dict[str, dict[str, Bound]] = {}
        for (name, side), stretches in sorted(self._stretches.items()):
            trials = sum(objects * count for (_, objects), count in stretches.items())
            errors = sum(wrong * count for (wrong, _), count in stretches.items())
            bound = round(lower_bound(stretches, alpha_of(1)), 6)
            found.setdefault(name, {})[side] = Bound(trials, errors, bound, stretches.total())
        # A class with only one side is not proven: the other side has no objects.
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
            self._stretches.setdefault(key, Counter())[min(most, self._wrong[key]), most] += 1
        self._most.clear()
        self._wrong.clear()
