"""Audits: turn the verified frames of audit stretches into evidence.

An object over the audited frames of a stretch counts once. It is wrong if any of its boxes was wrong. A box is right if
it has the right class and is well placed. An object is found if a box of its class is in its place. So a box of the
wrong class is an error of both classes. `any class` has recall alone: whether any box was in the object's place.

Evidence belongs to a recipe: other models, fusion or classes start without evidence. It also belongs to the settings
that decide what is audited, and what the proof is of: target, uncertainty, length of the stretches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.recipe import recipe
from autolabel.contracts.verification import BOXES, AuditedPolicy, Task
from autolabel.labelling.uncertainty_map import read_map
from autolabel.labels.agreement import WELL_PLACED, Pair, corners
from autolabel.labels.detections import box_iou
from autolabel.labels.exclusions import read_exclusions
from autolabel.labels.manifest import LabelledBox
from autolabel.labels.tracker import Tracker
from autolabel.sequences.linked_shards import read_link_version
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.policy import ANY_CLASS
from autolabel.triage.redrawn import RedrawnBoxes

PRECISION = "precision"
RECALL = "recall"
# Version 1 counted the objects of a run without their stretches. It cannot be ordered, so it proves nothing any more.
EVIDENCE_VERSION = 2
# Evidence documents read at a time: a recipe may have thousands of runs.
_READERS = 16


class Count(msgspec.Struct, frozen=True, array_like=True):
    """The objects of a class and side in an audit stretch, and those of them that are wrong."""

    objects: int = 0
    wrong: int = 0


class ClassErrors(msgspec.Struct, frozen=True, array_like=True):
    """The objects of a class in an audit stretch: those of the models (precision), and those of a person (recall)."""

    precision: Count = Count()
    recall: Count = Count()


class AuditedStretch(msgspec.Struct, frozen=True, array_like=True):
    """An audit stretch with the errors of each class. `position`: of its first frame, among the camera's, from 0."""

    camera: str
    position: int
    blind: bool
    classes: dict[str, ClassErrors]


class Evidence(msgspec.Struct, frozen=True, rename={"max_uncertainty": "max_doubt", "stretch": "segment"}):
    """Evidence of one published run's audits. `published`: ISO 8601 time in UTC, of the first publication.

    `target`, `max_uncertainty`, `stretch`: the policy's; `iou`: of the policy `key-frames`, whose audits are of the
    frames between key frames; else 0. `base`: the recipe without an uncertainty map, if it has one. `task`: of tracks,
    audits are of whole stretches that are certain. `redrawn`: under `key-frames`, key boxes that a second person
    labelled blind, by class. Evidence of version 1 is read without its content.
    """

    recipe: str
    drive: str
    run: str
    published: str
    max_uncertainty: float
    target: float = 0.0
    stretch: int = 0
    stretches: tuple[AuditedStretch, ...] = ()
    version: int = 1
    iou: float = 0.0
    base: str | UnsetType = UNSET
    task: Task = BOXES
    redrawn: dict[str, RedrawnBoxes] = {}

    @property
    def base_recipe(self) -> str:
        """The recipe without an uncertainty map."""
        return self.base or self.recipe

    @property
    def order(self) -> tuple[str, str, str]:
        """The key that sorts evidence, oldest first."""
        return self.published, self.drive, self.run

    def counts_under(self, policy: AuditedPolicy) -> bool:
        """Return whether it may prove classes under a policy: settings decide what is audited, and how."""
        settings = (self.target, self.max_uncertainty, self.stretch, self.task)
        return settings == (policy.target, policy.max_uncertainty, policy.stretch, policy.task)


class Recipe(NamedTuple):
    """The recipe of a run, and its `base`: the recipe without an uncertainty map."""

    full: str
    base: str


def read_recipe(run: Run, label_bucket: Bucket) -> Recipe:
    """Compute the recipe of a run that was linked or not, with the uncertainty map that it has or not."""
    link, uncertainty_map = read_link_version(run, label_bucket), read_map(run, label_bucket)
    return Recipe(recipe(run, link, uncertainty_map.digest if uncertainty_map else ""), recipe(run, link))


def evidence_prefix(recipe: str) -> str:
    """Return the key prefix of a recipe's evidence in the label bucket. The number is the version."""
    return f"audits/2/{recipe}/"


def evidence_key(recipe: str, drive: str, run: str) -> str:
    return f"{evidence_prefix(recipe)}{drive}-{run}.json"


def read_evidence(label_bucket: Bucket, recipe: str) -> Iterator[Evidence]:
    """Read the evidence of a recipe, without that of excluded runs."""
    decoder = msgspec.json.Decoder(Evidence)
    exclusions = read_exclusions(label_bucket)
    keys = (found.key for found in label_bucket.list(evidence_prefix(recipe)))
    for body in map_in_order(label_bucket.read, keys, _READERS):
        if body is not None:
            evidence = decoder.decode(body)
            if not exclusions.covers(evidence.drive, evidence.run):
                yield evidence


def count_old_evidence(label_bucket: Bucket, recipe: str) -> int:
    """Count the runs of a recipe whose evidence is of version 1."""
    return sum(1 for _ in label_bucket.list(f"audits/{recipe}/"))


def judge_stretch(frames: Iterable[Sequence[Pair]]) -> dict[str, ClassErrors]:
    """Count the objects and errors of each class in the audited frames of an audit stretch, in the drive's order.

    `frames`: for each frame, the models' boxes paired with a person's.
    """
    judged = [_judge(pairs) for pairs in frames]
    found: dict[str, dict[str, Count]] = {}
    for side in (PRECISION, RECALL, ANY_CLASS):
        for track in _tracks([one[side] for one in judged]):
            name, of = (ANY_CLASS, RECALL) if side == ANY_CLASS else (track.box.name, side)
            before = found.setdefault(name, {}).get(of, Count())
            found[name][of] = Count(before.objects + 1, before.wrong + track.wrong)
    return {name: ClassErrors(**sides) for name, sides in sorted(found.items())}


class _Track(NamedTuple):
    """An object so far: its last box, and whether any of its boxes was wrong."""

    box: LabelledBox
    wrong: bool


def _judge(pairs: Sequence[Pair]) -> dict[str, list[_Track]]:
    """Sort a frame's boxes by the side for which they count, and judge them."""
    judged: dict[str, list[_Track]] = {PRECISION: [], RECALL: [], ANY_CLASS: []}
    for predicted, verified, iou in pairs:
        same = predicted is not None and verified is not None and predicted.name == verified.name
        if predicted is not None:
            judged[PRECISION].append(_Track(predicted, not (same and iou >= WELL_PLACED)))
        if verified is not None:
            judged[RECALL].append(_Track(verified, not same))
            judged[ANY_CLASS].append(_Track(verified, predicted is None))
    return judged


def _tracks(frames: Iterable[Sequence[_Track]]) -> Iterator[_Track]:
    """Track the objects of an audit stretch through the boxes of its frames, in order."""
    tracker = Tracker(_likeness, _join)
    for boxes in frames:
        yield from tracker.follow(boxes)
    yield from tracker.end()


def _likeness(track: _Track, one: _Track) -> float:
    return box_iou(corners(track.box), corners(one.box)) if track.box.name == one.box.name else 0.0


def _join(track: _Track, one: _Track) -> _Track:
    return _Track(one.box, track.wrong or one.wrong)
