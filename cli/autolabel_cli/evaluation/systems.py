"""Systems that are scored: each model alone and all of them merged, or a published dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from autolabel.contracts.errors import AnswerRefused
from autolabel.contracts.wording import counted
from autolabel.labelling import FrameLabels, ModelDetections, decode_answer, label_frame
from autolabel.labels import IGNORE, VERIFIED, Detection, Detections, LabelledBox, corners
from autolabel_cli.datasets.sources import find_source, is_file
from autolabel_cli.datasets.staging import Line, chosen_label, read_line
from autolabel_cli.errors import CommandError
from autolabel_cli.evaluation.folders import Frame, FrameLeftOut
from autolabel_cli.evaluation.servers import ModelServer
from autolabel_cli.models.kitti import SCORED, LabelledFrame
from autolabel_cli.stack import Stack

FUSED, FINAL = "fused", "final"
# The product knows cameras by name only where a model's coverage names them; a folder of others has none.
_CAMERA = "front"

LabelFrame = Callable[[Frame], Mapping[str, FrameLabels]]
"""Labels of a frame by system. Raises FrameLeftOut. Several threads may call it."""


def by_models(servers: Sequence[ModelServer], labelled: frozenset[str]) -> LabelFrame:
    """Label by each model alone, under its name, and by all merged as the pipeline does it, under FUSED."""

    def label(frame: Frame) -> Mapping[str, FrameLabels]:
        found = [_detections(server, frame) for server in servers]
        voices = {one.model.name: [one] for one in found} | {FUSED: found}
        return {
            name: label_frame(voice, _CAMERA, frame.width, frame.height, labels=labelled, ego_mask=None)
            for name, voice in voices.items()
        }

    return label


def vehicle_finder(servers: Sequence[ModelServer]) -> Callable[[LabelledFrame], Detections]:
    """Return what finds the vehicles of a frame: the pre-label of all models merged."""

    def find(frame: LabelledFrame) -> Detections:
        found = [_detections(server, frame) for server in servers]
        merged = label_frame(found, _CAMERA, frame.width, frame.height, labels=SCORED["vehicle"].classes, ego_mask=None)
        return merged.prelabel

    return find


def _detections(server: ModelServer, frame: Frame | LabelledFrame) -> ModelDetections:
    if server.model.purpose != "labels":
        raise CommandError(
            f"{server.model.name} is for {server.model.purpose} and labels nothing: name other models with --models"
        )
    try:
        decoded = decode_answer([server.ask(frame.image)], server.model, frame.width, frame.height)
    except AnswerRefused as e:
        raise CommandError(f"the answer of {server.model.name} to {frame.image} cannot be read: {e}") from e
    return ModelDetections(server.model, decoded.detections)


class _Published(NamedTuple):
    """Boxes of a line: the models' pre-label and the final label; `left_out`: why there is no label."""

    width: int
    height: int
    prelabel: Sequence[LabelledBox]
    final: Sequence[LabelledBox]
    verified: bool
    left_out: str


def by_dataset(source: str, frames: Sequence[Frame], stack_name: str) -> LabelFrame:
    """Label by a published dataset: its pre-labels as FUSED, and as FINAL what it has at the end.

    `source`: DRIVE, DRIVE@RUN or a dataset.manifest file. Images are joined by their names: `<timestamp>`, or
    `<drive>.<camera>.<timestamp>` as in exports. If no image has such a name, images and frames of a single camera are
    joined in order. CommandError when neither fits.
    """
    stack = None if is_file(source) else Stack.find(stack_name)
    lines = find_source(source, stack).lines(stack)
    published = dict[str, _Published]()
    order = list[tuple[str, str, str]]()
    for number, body in enumerate(lines, start=1):
        line = read_line(body, f"{source}, line {number}")
        if line.name in published:
            raise CommandError(f"{line.origin}: frame {line.frame.key} comes twice: remove one of its lines")
        published[line.name] = _read(line)
        order.append((line.frame.camera, line.frame.timestamp, line.name))
    joined = _joined(frames, sorted(order), source)

    def label(frame: Frame) -> Mapping[str, FrameLabels]:
        if frame.name.as_posix() not in joined:
            raise FrameLeftOut("images that the dataset does not have")
        found = published[joined[frame.name.as_posix()]]
        if found.left_out:
            raise FrameLeftOut(f"images without a label in the dataset ({found.left_out})")
        if (found.width, found.height) != (frame.width, frame.height):
            raise FrameLeftOut("images of another size than in the dataset")
        final = _labels(found.final, frame, verified=found.verified)
        return {FUSED: _labels(found.prelabel, frame, verified=False), FINAL: final}

    return label


def _joined(frames: Sequence[Frame], order: Sequence[tuple[str, str, str]], source: str) -> dict[str, str]:
    """Return the name of each image's line."""
    by_timestamp = Counter(timestamp for _, timestamp, _ in order)
    names = {timestamp: name for _, timestamp, name in order if by_timestamp[timestamp] == 1}
    names |= {name: name for _, _, name in order}
    joined = {f.name.as_posix(): names[f.name.stem] for f in frames if f.name.stem in names}
    if joined:
        return joined
    cameras = {camera for camera, _, _ in order}
    if len(frames) != len(order) or len(cameras) != 1:
        raise CommandError(
            f"no image is named like a frame of {source} (<timestamp>, or <drive>.<camera>.<timestamp>), and "
            f"{counted(len(frames), 'image')} cannot be joined in order with {counted(len(order), 'frame')} of "
            f"{counted(len(cameras), 'camera')}: "
            "give the folder that the drive was uploaded from, or one with such names"
        )
    return {f.name.as_posix(): name for f, (_, _, name) in zip(frames, order, strict=True)}


def _read(line: Line) -> _Published:
    attribute, why = chosen_label(line, "all")
    content = line.content
    try:
        size = content.size
        prelabel = content.prelabel_boxes
        final = content.verified_boxes if attribute == VERIFIED else prelabel
    except msgspec.DecodeError as e:
        raise CommandError(f"{line.origin} has no boxes: {e}") from e
    return _Published(size.width, size.height, prelabel, final, attribute == VERIFIED, "" if attribute else why)


def _labels(boxes: Sequence[LabelledBox], frame: Frame, *, verified: bool) -> FrameLabels:
    """Make labels of boxes. A verified box has no confidence of a model: it counts as sure."""
    found = list[Detection]()
    for box in boxes:
        left, top, right, bottom = corners(box)
        inside = (max(0.0, left), max(0.0, top), min(float(frame.width), right), min(float(frame.height), bottom))
        if box.name != IGNORE and inside[0] < inside[2] and inside[1] < inside[3]:
            confidence = 1.0 if verified else box.confidence
            found.append(Detection(box.name, inside, confidence, confidence, box.name, ()))
    detections = Detections(frame.width, frame.height, tuple(found))
    return FrameLabels(detections, detections, Counter())
