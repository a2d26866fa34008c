"""Triage under the policy `key-frames`: reviewers get the key frames of each shard, and one frame between them blind.

A shard is a strip, so what its frames become depends on nothing outside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from msgspec import UNSET

from autolabel.contracts.drive import Run
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import BETWEEN, BLIND_AUDIT, KEY_FRAME, VerifyKeyFrames
from autolabel.labelling.earlier_labels import EarlierFrame, earlier_frames
from autolabel.labelling.shards import LabelledShard
from autolabel.labels.agreement import corners
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.sequences.key_frames import StripFrame, choose_key_frames
from autolabel.triage.queueing import Triage, TriagedFrame

_NANOSECONDS = 1_000_000_000


class KeyFrameTriage(Triage):
    """The triage of the policy `key-frames`.

    `limits`: the classes for which another IoU than the policy's was fixed, because interpolation did not hold.
    """

    def __init__(
        self,
        run: Run,
        policy: VerifyKeyFrames,
        limits: Mapping[str, float],
        shards: Sequence[LabelledShard],
        label_bucket: Bucket,
    ) -> None:
        super().__init__(run, shards, label_bucket)
        self._policy = policy
        self._limits = limits
        # Kinds are asked for twice, and choosing them reads all lines.
        self._kinds: dict[int, tuple[str, ...]] = {}

    def _triage(self, shard: LabelledShard) -> Iterator[TriagedFrame]:
        judged = list(earlier_frames(self._run, shard, self._label_bucket))
        if shard.index not in self._kinds:
            self._kinds[shard.index] = self._choose(shard, judged)
        for kind, earlier in zip(self._kinds[shard.index], judged, strict=True):
            # The frames of a strip stay together, in their order.
            yield TriagedFrame(kind, (float(shard.index), 0.0), earlier)

    def _choose(self, shard: LabelledShard, judged: Sequence[EarlierFrame]) -> tuple[str, ...]:
        frames, least_iou, start = list[StripFrame](), dict[str, float](), 0
        lines = self._label_bucket.lines(self._run.folder.shard(shard.index, shard.part("manifest")))
        for body, earlier in zip(lines, judged, strict=True):
            line = read_line(body)
            start = start or int(line.origin.timestamp)
            time = (int(line.origin.timestamp) - start) / _NANOSECONDS
            frames.append(_strip_frame(line, time, earlier))
            for box, track in zip(line.prelabel_boxes, _tracks(line), strict=False):
                least_iou[track] = self._limits.get(box.name, self._policy.iou)
        kinds = [BETWEEN] * len(frames)
        for index in choose_key_frames(frames, least_iou, self._policy.gap):
            kinds[index] = judged[index].kind or KEY_FRAME
        between = [index for index, kind in enumerate(kinds) if kind == BETWEEN]
        if between:
            lot = hashlib.sha256(f"{self._run.drive}/{self._run.run}/{shard.camera}/{shard.before}".encode()).digest()
            kinds[between[int.from_bytes(lot[:8]) % len(between)]] = BLIND_AUDIT
        return tuple(kinds)


def _strip_frame(line: ManifestLine, time: float, earlier: EarlierFrame) -> StripFrame:
    """Read what the choice needs of a frame. A frame that interpolation cannot label is a key frame.

    Link gives no tracks to a frame without a pre-label, to cameras of a low rate, and where the line would be too long.
    """
    tracks = _tracks(line)
    boxes = {track: corners(box) for box, track in zip(line.prelabel_boxes, tracks, strict=False)}
    unlinked = line.prelabel_tracks is UNSET or "" in boxes or len(boxes) < len(line.prelabel_boxes)
    by_person = bool(earlier.kind or earlier.label)
    return StripFrame(time, boxes, unlinked or by_person)


def _tracks(line: ManifestLine) -> tuple[str, ...]:
    return () if line.prelabel_tracks is UNSET else line.prelabel_tracks.ids
