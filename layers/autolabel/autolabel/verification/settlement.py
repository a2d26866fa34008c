"""Settlement: what a round of a verification job came to, whichever back-end people worked in.

What a back-end left is believed for frames that the job was given, and once for each. A frame that it left without a
label, or that somebody was unsure of, is taken up by another round; after that it stands as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from autolabel.errors import CountMismatch
from autolabel.manifest import (
    DOUBT,
    MAX_LINE,
    PRELABEL,
    REVIEW,
    VERIFIED,
    BoxLabel,
    BoxMetadata,
    LabelledBox,
    LineTooLong,
    encode_line,
    metadata_of,
    read_boxes,
)
from autolabel.nesting import is_deep
from autolabel.ports import Bucket
from autolabel.verification.jobs import LAST_ROUND, JobRound
from autolabel.verification.reviews import Review

# The line of a manifest comes back with a label of its own.
_MAX_OUTPUT_LINE = 4 * MAX_LINE
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class NextRound(msgspec.Struct, frozen=True):
    """What the next round is given: the S3 URI of its manifest."""

    manifest: str
    frames: int


class Settled(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a round came to. `results`: S3 URI of a line for each of its frames, with the label or why there is none.

    `frames` = `verified` + `failed`. `unadjusted`: verified ones whose boxes stayed as they were shown; `unsure`: those
    of which somebody said so. `foreign`, `doubled`, `broken`: lines of the back-end that
    were left out. `again`: what the next round is given, if there is one.
    """

    job: str
    results: str
    frames: int
    verified: int = 0
    unadjusted: int = 0
    failed: int = 0
    unsure: int = 0
    foreign: int = 0
    doubled: int = 0
    broken: int = 0
    again: NextRound | None = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True, rename={"source_ref": "source-ref"}):
    """A frame's line of a round's results: its label with metadata in Ground Truth's shape, or the `failure`."""

    source_ref: str
    job: str
    label: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    review: Review | msgspec.UnsetType = msgspec.UNSET
    failure: str = ""

    @property
    def unsure(self) -> bool:
        return isinstance(self.review, Review) and self.review.unsure


class _Output(
    msgspec.Struct,
    rename={"source_ref": "source-ref", "label": VERIFIED, "metadata": metadata_of(VERIFIED), "review": REVIEW},
):
    """What counts of a line that a back-end left."""

    source_ref: str
    label: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    review: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def settle_round(one: JobRound, output: Iterable[bytes], *, labels: Bucket, names: frozenset[str]) -> Settled:
    """Write a round's results and the next round's manifest. `names`: classes that a label may have.

    `output`: augmented manifest lines, in any order. CountMismatch when the round's manifest is not as planned.
    """
    manifest = one.manifest.removeprefix(labels.uri(""))
    found = _Found(output)
    settlement = _Settlement(one.job, names, found)
    stem = manifest.removesuffix(".manifest")
    results = f"{stem}.results.jsonl"
    labels.write_stream(results, settlement.results(labels.lines(manifest)), "application/jsonl")
    if settlement.frames != one.frames:
        raise CountMismatch(f"the manifest of job {one.job} has {settlement.frames} of {one.frames} frames")
    again = None
    if settlement.again and one.round < LAST_ROUND:
        key = f"{stem}-again.manifest"
        labels.write_stream(key, settlement.next_manifest(labels.lines(manifest)), "application/jsonl")
        again = NextRound(labels.uri(key), len(settlement.again))
    return Settled(
        job=one.job,
        results=labels.uri(results),
        frames=settlement.frames,
        verified=settlement.frames - settlement.failed,
        unadjusted=settlement.unadjusted,
        failed=settlement.failed,
        unsure=settlement.unsure,
        foreign=len(found.lines),
        doubled=found.doubled,
        broken=found.broken,
        again=again,
    )


class _Found:
    """What a back-end left, by frame; of two lines of a frame the first counts."""

    def __init__(self, output: Iterable[bytes]) -> None:
        self.lines: dict[str, _Output] = {}
        self.doubled = self.broken = 0
        decoder = msgspec.json.Decoder(_Output)
        for body in output:
            if len(body) > _MAX_OUTPUT_LINE:
                self.broken += 1
                continue
            try:
                line = decoder.decode(body)
            except _BROKEN:
                self.broken += 1
                continue
            self.doubled += line.source_ref in self.lines
            self.lines.setdefault(line.source_ref, line)


class _Settlement:
    """A round's frames one by one; `again`: by the frames' places, those that another round takes up."""

    def __init__(self, job: str, names: frozenset[str], found: _Found) -> None:
        self._job = job
        self._names = names
        self._found = found
        self.frames = self.unadjusted = self.failed = self.unsure = 0
        self.again: dict[int, Result] = {}

    def results(self, manifest: Iterable[bytes]) -> Iterator[bytes]:
        for body in manifest:
            line: dict[str, Any] = msgspec.json.decode(body)
            result = self._result(line)
            if result.failure:
                self.failed += 1
            else:
                metadata = msgspec.json.decode(result.metadata)
                self.unadjusted += metadata.get("adjustment-status") == "unadjusted"
                self.unsure += result.unsure
            if result.failure or result.unsure:
                self.again[self.frames] = result
            self.frames += 1
            yield msgspec.json.encode(result) + b"\n"

    def next_manifest(self, manifest: Iterable[bytes]) -> Iterator[bytes]:
        """The lines of the frames that are taken up again, with the boxes that somebody was unsure of."""
        for place, body in enumerate(manifest):
            result = self.again.get(place)
            if result is None:
                continue
            line: dict[str, Any] = msgspec.json.decode(body)
            if not result.failure:
                shown = {
                    **line,
                    PRELABEL: msgspec.json.decode(result.label),
                    metadata_of(PRELABEL): msgspec.json.decode(result.metadata),
                }
                # Doubts were about the boxes of before.
                shown.pop(DOUBT, None)
                # Where somebody drew more boxes than a line can show, the next person begins from the models' ones.
                with suppress(LineTooLong):
                    body = encode_line(shown, line["source-ref"]).rstrip(b"\n")
            yield body + b"\n"

    def _result(self, line: dict[str, Any]) -> Result:
        source = line["source-ref"]
        output = self._found.lines.pop(source, None)
        if output is None:
            return Result(source, self._job, failure="not in the job's output")
        if not self._is_label(line, output):
            return Result(source, self._job, failure="the job could not label it")
        return Result(source, self._job, output.label, output.metadata, _review(output.review))

    def _is_label(self, line: dict[str, Any], output: _Output) -> bool:
        """Whether what a back-end left of a frame is a set of boxes in it."""
        try:
            label, metadata = msgspec.json.decode(output.label), msgspec.json.decode(output.metadata)
            if is_deep(label) or is_deep(metadata):
                return False
            if msgspec.convert(metadata, BoxMetadata).failure_reason is not None:
                return False
            boxes = read_boxes({VERIFIED: label, metadata_of(VERIFIED): metadata}, VERIFIED)
        except _BROKEN:
            return False
        size = msgspec.convert(line[PRELABEL], BoxLabel).image_size[0]
        return all(box.name in self._names and _is_inside(box, size.width, size.height) for box in boxes)


def _review(body: msgspec.Raw | msgspec.UnsetType) -> Review | msgspec.UnsetType:
    if body is msgspec.UNSET:
        return msgspec.UNSET
    try:
        return msgspec.json.decode(body, type=Review)
    except _BROKEN:
        return msgspec.UNSET


def _is_inside(box: LabelledBox, width: int, height: int) -> bool:
    """Whether a box lies in the frame, give or take the pixel that a browser's rounding may add."""
    across, down = (box.left, box.left + box.width), (box.top, box.top + box.height)
    return -1 <= across[0] <= across[1] <= width + 1 and -1 <= down[0] <= down[1] <= height + 1
