"""Exclusions: decisions that the labels of a reviewer or a model count no longer. The labels themselves stay."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import BETWEEN, BLIND_AUDIT
from autolabel.labels.manifest import ManifestLine, Provenance
from autolabel.labels.reviews import Review

ExcludedKind = Literal["reviewer", "model"]
# The number is the version of the documents.
PREFIX = "exclusions/1/"


class Exclusion(msgspec.Struct, frozen=True, omit_defaults=True):
    """The decision about one reviewer or model, an object of its own in the label bucket.

    `name`: the back-end's name for the reviewer; a model's name, for all its revisions, or its `name.revision`. `by`:
    who decided, `at` an ISO 8601 time in UTC. `excluded`: False once the decision is taken back. `runs`: the published
    runs that it touched, as `<drive>-<run>`: their evidence and corrections do not count.
    """

    kind: ExcludedKind
    name: str
    by: str
    at: str
    excluded: bool = True
    runs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return exclusion_key(self.kind, self.name)


class Makers(msgspec.Struct, frozen=True):
    """Who made the label of a line. `models`: `name.revision` of those that made it without a person."""

    reviewers: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()


class LineOrigin(msgspec.Struct, frozen=True):
    """The parts of a dataset's line that say who made its label."""

    provenance: Provenance
    review: Review | UnsetType = UNSET


_Line = TypeVar("_Line")


class Exclusions(msgspec.Struct, frozen=True):
    """All exclusions that are in force. `runs`: all that they touched, as `<drive>-<run>`."""

    reviewers: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.reviewers or self.models)

    def plus(self, other: Exclusions) -> Exclusions:
        """Return the exclusions of both."""
        return Exclusions(self.reviewers | other.reviewers, self.models | other.models, self.runs | other.runs)

    def why(self, makers: Makers) -> str:
        """Return why a label does not count; empty if it counts."""
        if makers.reviewers & self.reviewers:
            return "excluded reviewer"
        return "excluded model" if any(is_of(one, self.models) for one in makers.models) else ""

    def covers(self, drive: str, run: str) -> bool:
        """Check whether the evidence and the corrections of a run do not count."""
        return f"{drive}-{run}" in self.runs


def exclusion_key(kind: ExcludedKind, name: str) -> str:
    """Return the key of an exclusion. It has a hash, because reviewers may have any name."""
    return f"{PREFIX}{kind}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:24]}.json"


def read_exclusions(label_bucket: Bucket) -> Exclusions:
    """Read the exclusions that are in force; there are few."""
    bodies = [label_bucket.read(found.key) for found in label_bucket.list(PREFIX)]
    found = [msgspec.json.decode(body, type=Exclusion) for body in bodies if body is not None]
    known = [one for one in found if one.excluded]
    return Exclusions(
        frozenset(one.name for one in known if one.kind == "reviewer"),
        frozenset(one.name for one in known if one.kind == "model"),
        frozenset(run for one in known for run in one.runs),
    )


def is_of(model: str, names: Iterable[str]) -> bool:
    """Check whether a `name.revision` is one of the models, which are named with or without a revision."""
    return model in names or model.rpartition(".")[0] in names


def reviewers_of(review: Review | UnsetType) -> frozenset[str]:
    """Return the reviewers who made a label; empty where the back-end names none."""
    return frozenset() if review is UNSET else frozenset(filter(None, (review.worker, *review.workers)))


def with_makers(lines: Iterable[tuple[_Line, LineOrigin]]) -> Iterator[tuple[_Line, Makers]]:
    """Say of each line of a dataset who made its label. `lines`: in the dataset's order, each with what tells it.

    The label of a frame between key frames has the reviewers of the key frames on both sides. Frames between are held
    until the next key frame comes.
    """
    before: frozenset[str] = frozenset()
    held: list[tuple[_Line, Makers, bool]] = []
    for line, made in lines:
        origin = made.provenance
        makers = Makers(
            reviewers_of(made.review), frozenset() if origin.labelled_by.by_person else frozenset(origin.models)
        )
        if origin.triage == BETWEEN or (held and origin.triage == BLIND_AUDIT):
            held.append((line, makers, origin.triage == BETWEEN))
            continue
        if origin.triage == BLIND_AUDIT:
            # Not a key frame, so frames between do not follow from it.
            yield line, makers
            continue
        yield from _between(held, before | makers.reviewers)
        held, before = [], makers.reviewers
        yield line, makers
    yield from _between(held, before)


def with_reasons(lines: Iterable[tuple[_Line, ManifestLine]], exclusions: Exclusions) -> Iterator[tuple[_Line, str]]:
    """Say of each line of a dataset why an exclusion leaves it out; empty if none does. The lines keep their order."""
    if not exclusions:
        yield from ((line, "") for line, _ in lines)
        return
    for line, makers in with_makers((line, LineOrigin(of.origin, of.review)) for line, of in lines):
        yield line, exclusions.why(makers)


def _between(held: list[tuple[_Line, Makers, bool]], reviewers: frozenset[str]) -> Iterator[tuple[_Line, Makers]]:
    for line, makers, is_between in held:
        yield line, Makers(reviewers, makers.models) if is_between else makers
