"""Settles a round of a verification job, the same way for every back-end.

Settling accepts a back-end's lines only for frames that the job was given, and one line for each frame. These go to a
second round: frames without a label, frames that a reviewer marked unsure, frames about which several reviewers differ,
and frames at a border of strips that disagree. The result of the second round is final. A share of the key frames goes
there too, without boxes: their first label stays, and the second one is compared with it.

Here, and nowhere else, seeds leave the labels of a first round: a result has the boxes as if there had been none. A
frame whose seed was missed goes to the second round too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.ports import Bucket
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import CUBOIDS, SEGMENTS, TRACKS, JobTask
from autolabel.contracts.wording import counted
from autolabel.labels.manifest import (
    MAX_LINE,
    REVIEW,
    VERIFIED,
    BoxLabel,
    BoxMetadata,
    CandidateBox,
    LabelledBox,
    LineTooLong,
    ManifestLine,
    ShownUncertainty,
    decode_boxes,
    encode_line,
    join_boxes,
    metadata_of,
    raw,
    read_line,
)
from autolabel.labels.reviews import MAX_COMMENT, Review
from autolabel.streams.json_depth import is_deep
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.queueing import without_prelabel
from autolabel.triage.seed_verdicts import judge_label
from autolabel.triage.seeds import SeedVerdict, unsow, unsown
from autolabel.triage.sowing import Seeds, read_seeds
from autolabel.verification.consolidation import ANSWERS, ASKED, Answer, Consensus, consolidate
from autolabel.verification.cuboid_labels import broken_cuboid_rule
from autolabel.verification.jobs import LABELS, LAST_ROUND, JobRound
from autolabel.verification.rules import other_size, sentence, unknown_class
from autolabel.verification.sequences import STRIP, shown_tracks
from autolabel.verification.shared_tracks import share_tracks, with_shared_tracks

# An output line is a manifest line with a label added.
_MAX_OUTPUT_LINE = 4 * MAX_LINE
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Threads: reading a picture's header mostly waits for S3.
_READERS = 16
# Says which rule a label and its metadata break; empty if they break none.
BrokenRule = Callable[[ManifestLine, Any, Any], str]


class NextRound(msgspec.Struct, frozen=True):
    """The next round: the S3 URI of its manifest, and its number of frames."""

    manifest: str
    frames: int


class Settled(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a round. `results`: S3 URI of a line for each of its frames, with the label or a failure.

    `frames` = `verified` + `failed`. `unadjusted`: verified frames whose boxes stayed as they were shown; `unsure`:
    frames that a reviewer marked so. Lines of the back-end that were left out: `foreign` ones of frames that the job
    was not given, `doubled` ones of frames that already have a line, `broken` ones that cannot be read. `missing`:
    labels that the back-end counted in stopped or failed attempts and that did not come. `several`: frames that several
    reviewers were asked for; of these, `short` ones have fewer answers, and reviewers differ about `disputed` ones.
    `again`: the next round, if there is one.
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
    missing: int = 0
    again: NextRound | None = None
    several: int = 0
    short: int = 0
    disputed: int = 0


class _Made(msgspec.Struct, rename="kebab"):
    """How a label was made, in Ground Truth's words."""

    adjustment_status: Any = None
    human_annotated: Any = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True, rename={"source_ref": "source-ref"}):
    """A frame's line of a round's results: the label with metadata in Ground Truth's format, or the `failure`.

    `failure`: why there is no label: the back-end's own reason, or the rule that its label breaks. `consensus`: how far
    several reviewers agree, if several were asked. `seed`: what the reviewer made of the frame's seed, which is in the
    label no more. `redrawn`: a second person labels the frame blind in the next round, and this label stays.
    `strip`: the S3 URI of the sequence in which reviewers verified tracks; `contested`: the ids of the tracks to which
    the strip beside it gives another class.
    """

    source_ref: str
    job: str
    label: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    review: Review | msgspec.UnsetType = msgspec.UNSET
    failure: str = ""
    consensus: Consensus | None = None
    seed: SeedVerdict | None = None
    redrawn: bool = False
    strip: str = ""
    contested: tuple[str, ...] = ()

    @property
    def unadjusted(self) -> bool:
        """Whether the label stayed as it was shown; Ground Truth says so in the metadata."""
        return bool(msgspec.json.decode(self.metadata, type=_Made).adjustment_status == "unadjusted")

    @property
    def by_script(self) -> bool:
        """Whether a script made the label, not a person: `human-annotated` in the metadata is `no`."""
        return bool(msgspec.json.decode(self.metadata, type=_Made).human_annotated == "no")

    @property
    def unsure(self) -> bool:
        return isinstance(self.review, Review) and self.review.unsure

    @property
    def worker(self) -> str:
        """The reviewer, as the back-end names them; empty if it does not."""
        return self.review.worker if isinstance(self.review, Review) else ""

    @property
    def boxes(self) -> list[LabelledBox]:
        """The boxes of the label."""
        return decode_boxes(self.label, self.metadata, VERIFIED)

    @property
    def disputed(self) -> tuple[CandidateBox, ...]:
        """The boxes about which several reviewers differ."""
        return self.consensus.disputed if self.consensus else ()

    @property
    def again(self) -> bool:
        """Whether the frame needs a second round."""
        missed = self.seed is not None and not self.seed.caught
        return bool(self.failure or self.unsure or self.disputed or missed or self.redrawn or self.contested)


class _Source(msgspec.Struct, rename={"source_ref": "source-ref"}):
    source_ref: str


class _Output(NamedTuple):
    """The parts of a back-end's line that settling uses."""

    label: msgspec.Raw
    metadata: msgspec.Raw
    review: msgspec.Raw | msgspec.UnsetType
    answers: msgspec.Raw | msgspec.UnsetType = UNSET
    asked: int = 1
    strip: str = ""


class _Given(msgspec.Struct, rename={"label": VERIFIED, "metadata": metadata_of(VERIFIED)}):
    """What one of several reviewers answered."""

    label: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    review: msgspec.Raw | msgspec.UnsetType = UNSET


def settle_round(
    one: JobRound,
    output: Iterable[bytes],
    *,
    label_bucket: Bucket,
    names: frozenset[str],
    is_redrawn: Callable[[str], bool] = lambda frame: False,
) -> Settled:
    """Write a round's results and the next round's manifest. `names`: the classes that a label may have.

    `is_redrawn`: whether a second person labels a key frame too, by its S3 URI.

    `output`: augmented manifest lines of the last attempt, in any order. Answers of earlier attempts come first. Raises
    CountMismatch when the round's manifest does not have the planned number of frames.
    """
    manifest = one.manifest.removeprefix(label_bucket.uri(""))
    settlement = _settlement(one, output, label_bucket, names)
    if one.round < LAST_ROUND:
        settlement.is_redrawn, settlement.has_strips = is_redrawn, one.task == TRACKS
    found = settlement.found
    stem = manifest.removesuffix(".manifest")
    results = f"{stem}.results.jsonl"
    label_bucket.write_stream(results, settlement.results(label_bucket.lines(manifest)), "application/jsonl")
    if settlement.frames != one.frames:
        raise CountMismatch(
            f"the manifest of job {one.job} has {settlement.frames:,} of {counted(one.frames, 'frame')}"
        )
    again = None
    if settlement.again and one.round < LAST_ROUND:
        key = f"{stem}-again.manifest"
        label_bucket.write_stream(key, settlement.next_manifest(label_bucket.lines(manifest)), "application/jsonl")
        again = NextRound(label_bucket.uri(key), len(settlement.again))
    return Settled(
        job=one.job,
        results=label_bucket.uri(results),
        frames=settlement.frames,
        verified=settlement.frames - settlement.failed,
        unadjusted=settlement.unadjusted,
        failed=settlement.failed,
        unsure=settlement.unsure,
        foreign=len(found.lines),
        doubled=found.doubled,
        broken=found.broken,
        missing=sum(attempt.missing for attempt in one.attempts),
        again=again,
        several=settlement.several,
        short=settlement.short,
        disputed=settlement.disputed,
    )


class SeveralResults:
    """The results of several reviewers who had an attempt of a round each, by frame.

    `manifest`: the lines that they were shown.
    """

    def __init__(self, attempts: Iterable[Iterable[Result]], manifest: Iterable[bytes]) -> None:
        shown = {id for body in manifest for _, id, _ in shown_tracks(read_line(body))}
        self._found: dict[str, dict[int, Result]] = {}
        for number, results in enumerate(attempts):
            for result in results:
                self._found.setdefault(result.source_ref, {})[number] = result
        self._shared = share_tracks((self._answers(source) for source in self._found), shown)

    def result(self, line: ManifestLine, job: str, asked: int) -> Result:
        """Make one result of those of a frame. A result without a label is left out."""
        answers = [with_shared_tracks(answer, self._shared) for answer in self._answers(line.source_ref).values()]
        if not answers:
            found = self._found.get(line.source_ref, {})
            why = next((result.failure for result in found.values()), "no reviewer answered")
            return Result(line.source_ref, job, failure=why)
        answer, consensus = consolidate(line, answers, asked)
        return Result(line.source_ref, job, *answer, consensus=consensus)

    def _answers(self, source: str) -> dict[int, Answer]:
        found = self._found.get(source, {})
        return {
            number: Answer(result.label, result.metadata, result.review)
            for number, result in found.items()
            if not result.failure
        }


class Answers(NamedTuple):
    """The results of the frames that a back-end's output has a line of; `labelled`: the frames with a label."""

    results: list[Result]
    labelled: frozenset[str]


def settle_answered(
    one: JobRound,
    output: Iterable[bytes],
    *,
    label_bucket: Bucket,
    names: frozenset[str],
    all_frames: bool = False,
) -> Answers:
    """Settle only the frames of a manifest that the output has a line of, in the order of the manifest.

    `all_frames`: the others too; they have no label.
    """
    settlement = _settlement(one, output, label_bucket, names)
    labelled = frozenset(
        source
        for source, found in settlement.found.lines.items()
        if found.label != b"null" or found.answers is not UNSET
    )
    bodies = label_bucket.lines(one.manifest.removeprefix(label_bucket.uri("")))
    return Answers(list(settlement.answered(bodies, all_frames)), labelled)


def read_results(label_bucket: Bucket, uri: str) -> Iterator[Result]:
    """Read the results of a round or of an attempt."""
    return map(msgspec.json.Decoder(Result).decode, label_bucket.lines(uri.removeprefix(label_bucket.uri(""))))


def _settlement(one: JobRound, output: Iterable[bytes], label_bucket: Bucket, names: frozenset[str]) -> _Settlement:
    found = _Found(output, LABELS[one.task])
    attempts = (read_results(label_bucket, attempt.results) for attempt in one.attempts)
    earlier = {} if one.has_reviewers_apart else {r.source_ref: r for results in attempts for r in results}
    manifest = one.manifest.removeprefix(label_bucket.uri(""))
    folder = RunFolder.of(manifest)
    if one.task == CUBOIDS:
        return _Settlement(one.job, found, earlier, partial(broken_cuboid_rule, names=names), CUBOIDS)
    if one.task != SEGMENTS:
        seeds = read_seeds(folder, label_bucket) if one.round == 1 else {}
        several = SeveralResults(attempts, label_bucket.lines(manifest)) if one.has_reviewers_apart else None
        rule = partial(_broken_box_rule, names=names)
        return _Settlement(one.job, found, earlier, rule, one.task, seeds=seeds, several=several, asked=one.reviewers)
    # This import loads Pillow, which jobs of boxes do not need.
    from autolabel.verification.segments import broken_segments_rule

    place = f"{folder.prefix}verification/"
    broken_rule = partial(broken_segments_rule, names=names, label_bucket=label_bucket, folder=place)
    return _Settlement(one.job, found, earlier, broken_rule, SEGMENTS, _READERS)


class _Found:
    """A back-end's output lines by frame. If a frame has two lines, the first counts."""

    def __init__(self, output: Iterable[bytes], attribute: str) -> None:
        self.lines: dict[str, _Output] = {}
        self.doubled = self.broken = 0
        decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
        nothing = msgspec.Raw(b"null")
        for body in output:
            if len(body) > _MAX_OUTPUT_LINE:
                self.broken += 1
                continue
            try:
                line = decoder.decode(body)
                source = msgspec.json.decode(line["source-ref"], type=str)
                several = _several(line)
                strip = msgspec.json.decode(line.get(STRIP, b'""'), type=str)
            except (*_BROKEN, KeyError):
                self.broken += 1
                continue
            if source in self.lines:
                self.doubled += 1
                continue
            # Copies, because a `Raw` keeps its whole line in memory: 100,000 whole lines take a gigabyte.
            label, metadata = (line.get(name, nothing).copy() for name in (attribute, metadata_of(attribute)))
            review = line[REVIEW].copy() if REVIEW in line else msgspec.UNSET
            self.lines[source] = _Output(label, metadata, review, *several, strip)


class _Settlement:
    """Settles a round frame by frame. `again`: the results of the next round's frames, by position in the manifest.

    `earlier`: results of earlier attempts, by frame. `broken_rule`: says which rule a label breaks. `task`: what
    reviewers correct. `seeds`: those in the round's manifest, by frame. `several`: the results of `asked` reviewers who
    had an attempt each.
    """

    def __init__(
        self,
        job: str,
        found: _Found,
        earlier: dict[str, Result],
        broken_rule: BrokenRule,
        task: JobTask,
        workers: int = 1,
        seeds: Seeds = MappingProxyType({}),
        several: SeveralResults | None = None,
        asked: int = 1,
    ) -> None:
        self._job = job
        self.found = found
        self._earlier = earlier
        self._broken_rule = broken_rule
        self._task = task
        self._workers = workers
        self._seeds = seeds
        self._several = several
        self._asked = asked
        swaps_after = {seed.swap.before for seed in seeds.values() if seed.swap}
        # Kept apart, because a frame's output is taken when it is settled.
        self._before = {source: _boxes_of(found.lines[source]) for source in swaps_after & found.lines.keys()}
        self.frames = self.unadjusted = self.failed = self.unsure = 0
        self.several = self.short = self.disputed = 0
        self.again: dict[int, Result] = {}
        self.is_redrawn: Callable[[str], bool] = lambda frame: False
        self.has_strips = False

    def results(self, manifest: Iterable[bytes]) -> Iterator[bytes]:
        found = map_in_order(self._result, manifest, self._workers)
        for result in _contest(list(found)) if self.has_strips else found:
            if result.failure:
                self.failed += 1
            else:
                self.unadjusted += result.unadjusted
                self.unsure += result.unsure
            if result.consensus:
                self.several += 1
                self.short += result.consensus.is_short
                self.disputed += bool(result.disputed)
            if result.again:
                self.again[self.frames] = result
            self.frames += 1
            yield msgspec.json.encode(result) + b"\n"

    def answered(self, manifest: Iterable[bytes], all_frames: bool) -> Iterator[Result]:
        """Yield the results of the frames that the output has a line of, or of all."""
        decoder = msgspec.json.Decoder(_Source)
        chosen = (body for body in manifest if all_frames or decoder.decode(body).source_ref in self.found.lines)
        return map_in_order(self._result, chosen, self._workers)

    def next_manifest(self, manifest: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the lines of the next round's frames, with the label that is not certain as the pre-label."""
        strip, before = "", Result("", "")
        for place, body in enumerate(manifest):
            result = self.again.get(place)
            if result is None:
                continue
            if result.redrawn:
                body = without_prelabel(body)
            elif self._seeds:
                body = msgspec.json.encode(unsown(read_line(body), self._seeds))
            if not (result.failure or result.redrawn):
                # If the line would be too long with the reviewer's boxes, the next reviewer gets the models' boxes.
                with suppress(LineTooLong):
                    line = self._begun_from(read_line(body), result)
                    if not set(result.contested).isdisjoint(before.contested):
                        # The next reviewer sees both sides of the border in one strip.
                        line.strip = strip
                    strip, before = line.strip, result
                    body = encode_line(line).rstrip(b"\n")
            yield body + b"\n"

    def _begun_from(self, line: ManifestLine, result: Result) -> ManifestLine:
        """Replace the line's pre-label by the label that is not certain."""
        # The models' uncertainty is about their own boxes. What they found since an earlier review stays marked.
        new = tuple(c for c in line.uncertainty.candidates if c.new) if line.uncertainty is not UNSET else ()
        line.uncertainty = UNSET
        if self._task == SEGMENTS:
            line.segmentation = msgspec.json.decode(result.label, type=str)
            line.segmentation_metadata = result.metadata
        else:
            line.prelabel, line.prelabel_metadata = result.label, result.metadata
            line.prelabel_tracks = UNSET
            line.uncertainty = _uncertainty_of(result, line.prelabel_boxes, new)
        return line

    def _result(self, body: bytes) -> Result:
        line = read_line(body)
        source = line.source_ref
        output = self.found.lines.pop(source, None)
        if self._several:
            return self._several.result(line, self._job, self._asked)
        if (before := self._earlier.get(source)) is not None:
            return self._drawn(line, before)
        if output is None:
            return Result(source, self._job, failure="not in the job's output")
        if output.answers is not UNSET:
            return self._consolidated(line, output, output.answers)
        found = self._label(line, output)
        if isinstance(found, str):
            return Result(source, self._job, failure=found)
        label, metadata, review = *found, _review(output.review)
        if (seed := self._seeds.get(source)) is None:
            return self._drawn(line, Result(source, self._job, label, metadata, review, strip=output.strip))
        left_before = self._before.get(seed.swap.before, []) if seed.swap else []
        judged = judge_label(seed, unsow(line, seed), *found, review, tracks=self._task == TRACKS, before=left_before)
        return Result(
            source,
            self._job,
            judged.label,
            judged.metadata,
            judged.review,
            seed=judged.verdict,
            strip=output.strip,
        )

    def _drawn(self, line: ManifestLine, result: Result) -> Result:
        """Mark a key frame that is drawn to be labelled twice. Only frames with tracks have frames that follow."""
        if line.prelabel_tracks is UNSET or result.again or result.by_script or not self.is_redrawn(line.source_ref):
            return result
        return msgspec.structs.replace(result, redrawn=True)

    def _consolidated(self, line: ManifestLine, output: _Output, answers: msgspec.Raw) -> Result:
        """Make one result of the answers of several reviewers. An answer whose label does not count is left out."""
        counted, why = list[Answer](), ""
        try:
            given = msgspec.json.decode(answers, type=list[_Given])
        except _BROKEN as e:
            return Result(line.source_ref, self._job, failure=sentence(f"the answers cannot be read: {e}"))
        for one in given:
            found = self._label(line, one)
            if isinstance(found, str):
                why = why or found
            else:
                counted.append(Answer(*found, _review(one.review)))
        if not counted:
            return Result(line.source_ref, self._job, failure=why or "no reviewer answered")
        answer, consensus = consolidate(line, counted, output.asked)
        return Result(line.source_ref, self._job, *answer, consensus=consensus)

    def _label(self, line: ManifestLine, output: _Output | _Given) -> tuple[msgspec.Raw, msgspec.Raw] | str:
        """Return the label and its metadata, without a back-end's spaces and escapes, which count for the limits.

        If the label does not count, return the reason.
        """
        try:
            label, metadata = msgspec.json.decode(output.label), msgspec.json.decode(output.metadata)
            why = self._fault(line, label, metadata)
        except _BROKEN as e:
            why = f"the label cannot be read: {e}"
        return sentence(why) if why else (raw(label), raw(metadata))

    def _fault(self, line: ManifestLine, label: Any, metadata: Any) -> str:
        """Say why a label does not count: the back-end's own reason, or the rule that it breaks; empty if it counts."""
        said = metadata.get("failure-reason") if isinstance(metadata, dict) else None
        if said is not None:
            told = sentence(said) if isinstance(said, str) else ""
            return told or "the job gave a failure-reason that cannot be read"
        if is_deep(label) or is_deep(metadata):
            return "the label is nested too deeply"
        return "the job left no label" if label is None else self._broken_rule(line, label, metadata)


def _broken_box_rule(line: ManifestLine, label: Any, metadata: Any, *, names: frozenset[str]) -> str:
    """Say which rule a back-end's set of boxes breaks; empty if it breaks none.

    Raises msgspec.ValidationError for another shape.
    """
    left = msgspec.convert(label, BoxLabel)
    boxes, size = join_boxes(left, msgspec.convert(metadata, BoxMetadata), VERIFIED), line.size
    if len(left.image_size) != 1:
        return f"the label has {len(left.image_size)} image sizes"
    if why := other_size(left.image_size[0].width, left.image_size[0].height, size):
        return why
    for number, box in enumerate(boxes, 1):
        if box.name not in names:
            return unknown_class(box.name)
        if not _is_inside(box, size.width, size.height):
            return f"box {number} ({box.name}) is not inside the frame of {size.width} x {size.height}"
    return ""


def _uncertainty_of(result: Result, boxes: Sequence[LabelledBox], new: Iterable[CandidateBox]) -> ShownUncertainty:
    """Tell the next reviewer why the label is not certain, in the place of the models' uncertainty."""
    comment = result.review.comment[:MAX_COMMENT] if isinstance(result.review, Review) else ""
    reasons = ["reviewers differ about some objects"] if result.disputed else []
    if result.contested:
        reasons.append("two strips give an object different classes")
    if result.unsure:
        reasons.append(f"a reviewer was unsure: {comment}" if comment else "a reviewer was unsure")
    if not reasons:
        # A missed seed: what it was is not told.
        reasons.append("the frame gets a second look")
    drawn = {(box.name, box.left, box.top, box.width, box.height) for box in boxes}
    still_new = tuple(c for c in new if (c.label, c.left, c.top, c.width, c.height) not in drawn)
    levels = tuple(float(box.track in result.contested) for box in boxes)
    return ShownUncertainty(1.0, levels, tuple(reasons), (*still_new, *result.disputed))


def _contest(results: Sequence[Result]) -> list[Result]:
    """Mark the frames on both sides of the border of two strips that give a track different classes.

    Strips of a camera do not overlap, so the border is where two of them name one track. `results`: of a job's frames.
    """
    contested = defaultdict[str, set[str]](set)
    labelled = (result for result in results if result.strip and not result.failure)
    for before, after in pairwise(sorted(labelled, key=attrgetter("source_ref"))):
        cameras = {one.source_ref.rpartition("/")[0] for one in (before, after)}
        if before.strip != after.strip and len(cameras) == 1:
            one, other = ({box.track: box.name for box in side.boxes} for side in (before, after))
            differ = {track for track in one.keys() & other.keys() if track and one[track] != other[track]}
            for side in (before, after):
                contested[side.source_ref] |= differ
    return [
        msgspec.structs.replace(result, contested=tuple(sorted(contested[result.source_ref])))
        if contested.get(result.source_ref)
        else result
        for result in results
    ]


def _several(line: dict[str, msgspec.Raw]) -> tuple[msgspec.Raw | msgspec.UnsetType, int]:
    """Return the answers of several reviewers, if a line has them, and how many were asked."""
    if ANSWERS not in line:
        return UNSET, 1
    return line[ANSWERS].copy(), msgspec.json.decode(line[ASKED], type=int)


def _boxes_of(output: _Output) -> list[LabelledBox]:
    """Read the boxes that a reviewer left; none if they cannot be read."""
    with suppress(*_BROKEN):
        return decode_boxes(output.label, output.metadata, VERIFIED)
    return []


def _review(body: msgspec.Raw | msgspec.UnsetType) -> Review | msgspec.UnsetType:
    if body is msgspec.UNSET:
        return msgspec.UNSET
    try:
        return msgspec.json.decode(body, type=Review)
    except _BROKEN:
        return msgspec.UNSET


def _is_inside(box: LabelledBox, width: int, height: int) -> bool:
    """Whether a box is inside the frame, with a tolerance of one pixel for a browser's rounding."""
    across, down = (box.left, box.left + box.width), (box.top, box.top + box.height)
    return -1 <= across[0] <= across[1] <= width + 1 and -1 <= down[0] <= down[1] <= height + 1
