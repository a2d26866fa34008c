"""Triage under the policy `doubtful` where reviewers verify tracks: an audit stretch is decided as a whole.

A stretch is as uncertain as its most uncertain frame, and claims what its frames claim. So it is accepted, audited or
given to reviewers in one piece. A blind audit is a strip of its own, since a reviewer sees no pre-label in any of its
frames. Other stretches that follow each other are one strip, up to the longest that reviewers get.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from autolabel.contracts.drive import Run
from autolabel.contracts.errors import VerificationRefused
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import ACCEPTED, AUDITS, BLIND_AUDIT, VerifyUncertain
from autolabel.labelling.earlier_labels import earlier_frames
from autolabel.labelling.shards import READERS, LabelledShard
from autolabel.streams.ordered_map import map_in_order
from autolabel.triage.policy import AuditStretch, claims, draw_audits, is_acceptable, stretch_of, triage_frame
from autolabel.triage.queueing import Triage, TriagedFrame


class _Stretch(NamedTuple):
    """What triage needs of a stretch. `level`: of its most uncertain frame; infinite if one has no pre-label."""

    frames: int
    level: float
    claims: frozenset[str]

    def with_frame(self, level: float | None, claimed: Iterable[str]) -> _Stretch:
        return _Stretch(
            self.frames + 1, max(self.level, math.inf if level is None else level), self.claims.union(claimed)
        )

    def join(self, other: _Stretch) -> _Stretch:
        return _Stretch(self.frames + other.frames, max(self.level, other.level), self.claims | other.claims)


_EMPTY = _Stretch(0, 0.0, frozenset())


class StripTriage(Triage):
    """The triage of strips under the policy `doubtful`. `proven`: as in UncertaintyTriage.

    `strip_frames`: the most frames of a strip. Raises VerificationRefused if audit stretches are longer.
    """

    def __init__(
        self,
        run: Run,
        policy: VerifyUncertain,
        proven: Collection[str],
        strip_frames: int,
        shards: Sequence[LabelledShard],
        label_bucket: Bucket,
    ) -> None:
        super().__init__(run, shards, label_bucket)
        if policy.stretch > strip_frames:
            raise VerificationRefused(
                "strips-too-short",
                f"drive.json has audit stretches of {policy.stretch} frames (`segment`), and a strip has at most "
                f"{strip_frames}: raise the stack's parameter StripFrames and redrive the run",
            )
        self._policy = policy
        found = self._read_stretches()
        acceptable = ((stretch, one.claims) for stretch, one in found.items() if is_acceptable(policy, one.level))
        draw = draw_audits(policy, run.drive, run.run, acceptable, proven)
        self._kinds = {
            stretch: triage_frame(policy, one.level, one.claims, proven, stretch, draw)
            for stretch, one in found.items()
        }
        self._strips = _name_strips(self._kinds, {stretch: one.frames for stretch, one in found.items()}, strip_frames)

    def _triage(self, shard: LabelledShard) -> Iterator[TriagedFrame]:
        for position, earlier in enumerate(earlier_frames(self._run, shard, self._label_bucket), shard.before):
            stretch = stretch_of(self._policy, shard.camera, position)
            kind = self._kinds[stretch]
            if kind not in AUDITS and earlier.kind:
                kind = earlier.kind
            # A strip's frames stay together, in their order.
            yield TriagedFrame(kind, (float(shard.index), 0.0), earlier, self._strips[stretch])

    def _read_stretches(self) -> dict[AuditStretch, _Stretch]:
        """Read the run's stretches, in the drive's order. One can cross the border of two shards."""

        def read(shard: LabelledShard) -> dict[AuditStretch, _Stretch]:
            found = dict[AuditStretch, _Stretch]()
            for position, uncertainty in enumerate(self._uncertainties(shard), shard.before):
                stretch = stretch_of(self._policy, shard.camera, position)
                claimed = claims(uncertainty.claims)
                found[stretch] = found.get(stretch, _EMPTY).with_frame(uncertainty.level, claimed)
            return found

        stretches = dict[AuditStretch, _Stretch]()
        for found in map_in_order(read, self._shards, READERS):
            for stretch, one in found.items():
                stretches[stretch] = stretches.get(stretch, _EMPTY).join(one)
        return stretches


def _name_strips(
    kinds: dict[AuditStretch, str], frames: dict[AuditStretch, int], strip_frames: int
) -> dict[AuditStretch, str]:
    """Name the strip of each stretch after its first one. `kinds` and `frames`: of each stretch, in the drive's order.

    Reviewers see no blind audit beside a pre-label, and no frames beside each other that others lie between.
    """
    names, name, length = dict[AuditStretch, str](), "", 0
    for stretch, kind in kinds.items():
        before = AuditStretch(stretch.camera, stretch.number - 1)
        alone = {BLIND_AUDIT, ACCEPTED} & {kind, kinds.get(before, ACCEPTED)}
        length += frames[stretch]
        if alone or length > strip_frames:
            name, length = f"{stretch.camera}/{stretch.number}", frames[stretch]
        names[stretch] = name
    return names
