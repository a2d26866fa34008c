"""Label a shard: turn its frames' headers and answers into manifest lines, candidates and issues."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec

from autolabel.contracts.drive import FIRST_RUN, Run, execution_name
from autolabel.contracts.errors import AnswerRefused, ImageRefused
from autolabel.contracts.frames import MAX_FRAME_BYTES, parse_frame_key
from autolabel.contracts.ports import Bucket
from autolabel.contracts.recipe import FUSION
from autolabel.contracts.units import view_key
from autolabel.contracts.verification import AGAIN, KEPT, REVIEW_ALL, SEGMENTS
from autolabel.labelling.decoding import decode_answer, decode_regions
from autolabel.labelling.earlier_labels import NOTHING, PICTURE_GONE, EarlierFrame, judge_frame
from autolabel.labelling.model_detections import ModelDetections
from autolabel.labelling.prelabel import FrameLabels as ChosenLabels
from autolabel.labelling.prelabel import label_frame
from autolabel.labelling.shards import AskedLines, FrameIssue, ModelTally, Shard, ShardFrame, ShardResult, Tally
from autolabel.labelling.uncertainty import FrameUncertainty, Uncertainty, as_attribute, as_record, frame_uncertainty
from autolabel.labelling.uncertainty_map import UncertaintyMap, calibrated, read_map
from autolabel.labels.detections import Detections
from autolabel.labels.failed_frames import FrameCheck
from autolabel.labels.frame_reader import FrameReader
from autolabel.labels.image_header import ImageHeader, read_header
from autolabel.labels.manifest import (
    LabelledBy,
    LineTooLong,
    MaskReferences,
    Provenance,
    ShownUncertainty,
    encode_line,
    prelabelled_line,
    raw,
)
from autolabel.labels.person_labels import FrameLabels, PersonLabel
from autolabel.models.catalogue import Model
from autolabel.streams.ordered_map import map_in_order

# Frames that are read at a time: reading a frame's header and answers is waiting for S3.
READERS = 8


class LabelledFrame(NamedTuple):
    """Result of a frame: a manifest line with its candidates, an issue, or (for a failed frame) both.

    `position`: `camera/timestamp`.
    """

    position: str
    line: bytes
    uncertainty: bytes
    candidates: bytes
    issue: FrameIssue | None
    outcome: str
    boxes: Counter[str]
    dropped: Counter[str]
    models: Mapping[str, ModelTally]


class _Candidates(msgspec.Struct):
    """One line of candidates. `failed`: models that failed, with the reason; they cast no vote against objects."""

    key: str
    detections: Detections
    failed: dict[str, str]


class ShardLabelling:
    """Labels the shards of one run, and makes the views of their frames.

    `models`: of the run's labels; `views`: the one that finds what views cover, if people see views. `created`: an ISO
    8601 time without zone that all its lines carry.
    """

    def __init__(
        self,
        run: Run,
        models: Sequence[Model],
        views: Model | None = None,
        *,
        ingest: Bucket,
        label_bucket: Bucket,
        created: str,
    ) -> None:
        self._run = run
        self._models = {model.answers_id: model for model in models}
        self._views = views
        # The pixels of a large frame take hundreds of megabytes, and the function has one processor.
        self._covering = threading.Lock()
        # Frames that are read before they are covered: up to 40 MB each.
        self._reading = threading.BoundedSemaphore(3)
        self._ingest = ingest
        self._label_bucket = label_bucket
        self._created = created
        self._job_labels = frozenset(run.labels)

    def label(self, shard: Shard) -> ShardResult:
        """Label a shard and write its parts. A repeated call writes the same keys again."""
        tally = Tally()
        lines, uncertainties, candidates, issues = bytearray(), bytearray(), bytearray(), bytearray()
        judged: list[EarlierFrame] = []
        earlier = self._earlier(shard)
        for frame in map_in_order(lambda frame: self.label_frame(*frame), self._checked(shard), READERS):
            lines += frame.line
            if earlier and frame.line:
                judged.append(self._judge(frame, earlier))
            uncertainties += frame.uncertainty
            candidates += frame.candidates
            tally.count_labels(frame.boxes, frame.dropped)
            tally.count_models(frame.models)
            if frame.issue is None:
                tally.labelled += 1
            else:
                tally.count_issues(frame.outcome, frame.issue.reason)
                issues += msgspec.json.encode({"outcome": frame.outcome, "frame": frame.issue}) + b"\n"
        result = ShardResult(shard.index, tally, len(lines), self._write_judged(shard, bytes(lines), judged))
        for part, body in (
            ("manifest", lines),
            ("doubts", uncertainties),
            ("detections", candidates),
            ("issues", issues),
        ):
            self._label_bucket.write(self._key(shard, f"{part}.jsonl"), bytes(body), "application/jsonl")
        # Written last: if the result is there, all other parts of the shard are.
        self._label_bucket.write(self._key(shard, "result.json"), msgspec.json.encode(result))
        return result

    def _earlier(self, shard: Shard) -> dict[str, tuple[PersonLabel, ...]]:
        """Read the labels from earlier runs of a shard's frames, by `camera/timestamp`."""
        if self._run.run == FIRST_RUN:
            return {}
        body = self._label_bucket.read(self._key(shard, "earlier.jsonl")) or b""
        decoder = msgspec.json.Decoder(FrameLabels)
        return {one.position: one.labels for one in map(decoder.decode, body.splitlines())}

    def _judge(self, frame: LabelledFrame, earlier: Mapping[str, tuple[PersonLabel, ...]]) -> EarlierFrame:
        judged = judge_frame(frame.line, earlier.get(frame.position, ()), self._run)
        label = judged.label
        if label is None or self._run.document.verification.task != SEGMENTS:
            return judged
        # A dataset refers to objects of its own run only.
        picture = self._label_bucket.read(self._picture_of(label))
        if picture is None:
            return NOTHING if self._run.review == REVIEW_ALL else EarlierFrame(AGAIN, why=PICTURE_GONE)
        key = self._run.folder.kept_segments(frame.position)
        self._label_bucket.write(key, picture, "image/png")
        return msgspec.structs.replace(
            judged, label=msgspec.structs.replace(label, label=raw(self._label_bucket.uri(key)))
        )

    def _picture_of(self, label: PersonLabel) -> str:
        return msgspec.json.decode(label.label, type=str).removeprefix(self._label_bucket.uri(""))

    def _write_judged(self, shard: Shard, lines: bytes, judged: Sequence[EarlierFrame]) -> AskedLines | None:
        """Write what becomes of the earlier labels, and the lines that reviewers get if they get every other frame."""
        if all(one == NOTHING for one in judged):
            return None
        bodies = [
            one.asked.encode() or body for body, one in zip(lines.splitlines(), judged, strict=True) if one.kind != KEPT
        ]
        asked = b"".join(body + b"\n" for body in bodies)
        kept = b"".join(msgspec.json.encode(one) + b"\n" for one in judged)
        self._label_bucket.write(self._key(shard, "kept.jsonl"), kept, "application/jsonl")
        self._label_bucket.write(self._key(shard, "asked.jsonl"), asked, "application/jsonl")
        return AskedLines(len(bodies), len(asked))

    def label_frame(self, frame: ShardFrame, reader: FrameReader, refused: ImageRefused | None = None) -> LabelledFrame:
        """Label one frame. A fault of the frame or of its answers becomes an issue, never an exception.

        `refused`: why the frame is rejected, if that is known already.
        """
        try:
            if refused:
                raise refused
            header = read_header(reader, frame.key)
            view = self._make_view(frame, reader, header, self._views) if self._views else ""
        except ImageRefused as e:
            issue = FrameIssue(frame.key, e.reason, str(e), reader.source)
            return LabelledFrame("", b"", b"", b"", issue, "rejected", Counter(), Counter(), {})
        found, failures, dropped, clipped = self._detections(frame, header)
        failure = None
        if len(failures) == len(self._models):
            first = next(iter(failures.values()))
            details = "; ".join(f.detail for f in failures.values())
            failure = FrameIssue(frame.key, first.reason, details, reader.source)
        key = parse_frame_key(frame.key)
        camera = self._run.document.cameras[key.camera]
        chosen = label_frame(
            found,
            key.camera,
            header.width,
            header.height,
            labels=self._job_labels,
            ego_mask=camera.ego_mask,
        )
        dropped += chosen.dropped
        # A mask is as long as the rest of its object. Only the masks of the pre-label are kept, beside the manifest.
        unmasked = chosen.merged.without_masks()
        candidates = _Candidates(frame.key, unmasked, {model: f.detail for model, f in failures.items()})
        record = msgspec.json.encode(candidates) + b"\n"
        empty = Detections(header.width, header.height)
        prelabel = empty if failure else chosen.prelabel
        reasons = self._reasons(failures)
        # If the model with masks failed, the frame gets no picture: an empty one would say that nothing is there.
        masked = any(one.model.options.masks for one in found)
        masks = self._write_masks(frame, prelabel) if masked else None
        uncertainty = None if failure else self._uncertainty(chosen, len(failures))
        shown = as_attribute(uncertainty, chosen.thresholds, header.width, header.height) if uncertainty else None
        try:
            line = self._line(frame, reader, header, view, prelabel, reasons, masks, shown, labelled=failure is None)
        except LineTooLong as e:
            # Without some of its boxes the pre-label would be wrong unnoticed. A reviewer gets the frame without one.
            failure, prelabel, uncertainty = FrameIssue(frame.key, e.reason, str(e), reader.source), empty, None
            line = self._line(frame, reader, header, view, prelabel, [e.reason], labelled=False)
        boxes = Counter(d.name for d in prelabel)
        return LabelledFrame(
            position=key.position,
            line=line,
            uncertainty=msgspec.json.encode(as_record(uncertainty, boxes) if uncertainty else FrameUncertainty())
            + b"\n",
            candidates=record,
            issue=failure,
            outcome="failed" if failure else "labelled",
            boxes=boxes,
            dropped=dropped,
            models=_count_models(found, failures, clipped, prelabel),
        )

    @cached_property
    def _uncertainty_map(self) -> UncertaintyMap | None:
        return read_map(self._run, self._label_bucket)

    def _uncertainty(self, chosen: ChosenLabels, failed: int) -> Uncertainty:
        found = frame_uncertainty(chosen, list(self._models.values()), failed)
        return msgspec.structs.replace(found, level=calibrated(found.level, self._uncertainty_map))

    def _detections(
        self, frame: ShardFrame, header: ImageHeader
    ) -> tuple[list[ModelDetections], dict[str, FrameIssue], Counter[str], Counter[str]]:
        """Decode the detections of each model that answered; a failed model does not stop the others.

        Returns them, the failures by model, the dropped boxes by reason, and the clipped scores by model.
        """
        found: list[ModelDetections] = []
        failures: dict[str, FrameIssue] = {}
        dropped: Counter[str] = Counter()
        clipped: Counter[str] = Counter()
        for answer in frame.answers:
            if answer.model not in self._models:
                # The model of views.
                continue
            model = self._models[answer.model]
            if answer.failure:
                failures[model.id] = FrameIssue(frame.key, "inference-failed", f"{answer.model}: {answer.failure}")
                continue
            try:
                decoded = decode_answer(self._label_bucket.stream(answer.key), model, header.width, header.height)
            except AnswerRefused as e:
                failures[model.id] = FrameIssue(frame.key, e.reason, f"{answer.model}: {answer.key}: {e}")
                continue
            except KeyError:
                failures[model.id] = FrameIssue(frame.key, "answer-gone", f"{answer.model}: {answer.key} is gone")
                continue
            found.append(ModelDetections(model, decoded.detections))
            dropped += decoded.dropped
            clipped[model.id] = decoded.clipped
        return found, failures, dropped, clipped

    def _make_view(self, frame: ShardFrame, reader: FrameReader, header: ImageHeader, model: Model) -> str:
        """Write the frame's view, and return its S3 URI. Raises ImageRefused: without its view, a frame is not shown.

        It is written again in each run: it expires some time after its last run.
        """
        # Imported here because it imports numpy, which runs without views do not need.
        from autolabel.views import cover

        answer = next(answer for answer in frame.answers if answer.model == model.answers_id)
        why = answer.failure
        try:
            if not why:
                regions = decode_regions(self._label_bucket.stream(answer.key), model, header.width, header.height)
        except AnswerRefused as e:
            why = str(e)
        except KeyError:
            why = f"{answer.key} is gone"
        if why:
            raise ImageRefused(
                "no-view", f"{frame.key} has no view, since {model.id} did not find what to cover: {why}"
            )
        with self._reading:
            body = reader(0, MAX_FRAME_BYTES)
            # The pixels of one frame may take most of the function's memory.
            with self._covering:
                view = cover(body, frame.key, regions, model.id)
        key = view_key(parse_frame_key(frame.key), frame.etag, model.id, f".{header.format}")
        self._label_bucket.write(key, view, f"image/{header.format}")
        return self._label_bucket.uri(key)

    def _reasons(self, failures: Mapping[str, FrameIssue]) -> list[str]:
        """Return each failed model's reason as one word: an attribute is short, and the issue has the sentence."""
        if len(self._models) == 1:
            return [f.reason for f in failures.values()]
        return [f"{model}: {f.reason}" for model, f in failures.items()]

    def _line(
        self,
        frame: ShardFrame,
        reader: FrameReader,
        header: ImageHeader,
        view: str,
        prelabel: Detections,
        reasons: Sequence[str],
        masks: MaskReferences | None = None,
        uncertainty: ShownUncertainty | None = None,
        *,
        labelled: bool,
    ) -> bytes:
        key = parse_frame_key(frame.key)
        provenance = Provenance(
            drive=self._run.drive,
            run=self._run.run,
            camera=key.camera,
            timestamp=key.timestamp,
            etag=frame.etag,
            source=reader.source,
            models=self._run.models,
            taxonomy=self._run.taxonomy,
            fusion=FUSION,
            labelled_by=LabelledBy.MODEL if labelled else LabelledBy.NOBODY,
            failures=tuple(reasons),
        )
        line = prelabelled_line(
            source=self._ingest.uri(frame.key),
            view=view,
            detections=prelabel,
            depth=header.depth,
            labels=self._run.labels,
            job=execution_name(self._run.drive, self._run.run),
            created=self._created,
            provenance=provenance,
            masks=masks,
            uncertainty=uncertainty,
        )
        return encode_line(line)

    def _write_masks(self, frame: ShardFrame, prelabel: Detections) -> MaskReferences:
        # Imported here because it imports numpy, which runs without masks do not need.
        from autolabel.labelling.segmentation_map import color_map, mask_document, segmentation_picture

        key = parse_frame_key(frame.key)
        folder = self._run.folder
        document, picture = folder.masks(key.position), folder.segmentation(key.position)
        self._label_bucket.write(document, mask_document(frame.key, prelabel))
        self._label_bucket.write(picture, segmentation_picture(prelabel, self._run.labels), "image/png")
        colors = color_map(prelabel, self._run.labels)
        return MaskReferences(self._label_bucket.uri(document), self._label_bucket.uri(picture), colors)

    def _checked(self, shard: Shard) -> Iterator[tuple[ShardFrame, FrameReader, ImageRefused | None]]:
        """Read a shard's frames, and why one that a model failed is rejected."""
        check = FrameCheck()
        for frame in map(msgspec.json.Decoder(ShardFrame).decode, self._label_bucket.lines(shard.key)):
            failed = any(answer.failure for answer in frame.answers)
            reader = FrameReader(self._ingest, frame.key, frame.etag)
            yield frame, reader, check.refusal(reader, frame.key) if failed else None

    def _key(self, shard: Shard, part: str) -> str:
        return self._run.folder.shard(shard.index, part)


def _count_models(
    found: Sequence[ModelDetections],
    failures: Mapping[str, FrameIssue],
    clipped: Mapping[str, int],
    prelabel: Detections,
) -> dict[str, ModelTally]:
    """Count each model's results in one frame."""
    counts = {one.model.id: ModelTally(answered=1, clipped=clipped[one.model.id]) for one in found} | {
        model: ModelTally(failed=1) for model in failures
    }
    for detection in prelabel:
        for model in detection.models:
            counts[model].boxes += 1
            counts[model].alone += len(detection.models) == 1
        for model in detection.missed:
            counts[model].missed += 1
    return counts
