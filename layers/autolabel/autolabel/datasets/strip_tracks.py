"""The tracks of audited strips: ids in blind ones, and errors of identity.

A reviewer of a blind strip sees no tracks, so their objects have ids of their own. Frames before and after have those
of the models' tracks. So the objects get these ids, and keep them through the strip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import UNSET

from autolabel.contracts.verification import BLIND_AUDIT
from autolabel.labels.agreement import Pair, pair_boxes
from autolabel.labels.manifest import ManifestLine


def adopt_track_ids(lines: Iterable[ManifestLine], before: Mapping[str, str]) -> dict[str, str]:
    """Rename the tracks of a blind strip, in `tracks`; return the names by own ids. `lines`: those of a shard.

    An object gets the id of the track with which it shares the most boxes. Each id is given once, to the object with
    the most boxes; an object without such a track keeps its own. `before`: the names so far, which go on if the strip
    began in the shard before.
    """
    blind = [
        line
        for line in lines
        if line.origin.triage == BLIND_AUDIT and line.verified_by_person and line.prelabel_tracks is not UNSET
    ]
    shared = Counter[tuple[str, str]]()
    for line in blind:
        ids = {id(box): track for box, track in zip(line.prelabel_boxes, line.prelabel_ids, strict=True)}
        for shown, drawn, _ in pair_boxes(line.prelabel_boxes, line.verified_boxes):
            if shown and drawn and (track := ids[id(shown)]):
                shared[drawn.track, track] += 1
    drawn_here = {box.track for line in blind for box in line.verified_boxes}
    names = {own: track for own, track in before.items() if own in drawn_here}
    taken = set(names.values())
    for (own, track), _ in shared.most_common():
        if own and own not in names and track not in taken:
            names[own] = track
            taken.add(track)
    names = {own: names.get(own, own) for own in drawn_here}
    for line in blind:
        line.tracks = tuple(names.get(track, track) for track in line.tracks or ())
    return names


def judge_identities(line: ManifestLine, pairs: Iterable[Pair]) -> list[Pair]:
    """Give a box of the pre-label an IoU of 0, so that it counts as wrong, if its track is another object's.

    `line`: with the adopted ids in `tracks`. `pairs`: its boxes, paired with those that a person left.
    """
    models = dict(zip(map(id, line.prelabel_boxes), line.prelabel_ids, strict=False))
    persons = dict(zip(map(id, line.verified_boxes), line.tracks or (), strict=False))
    return [
        pair._replace(iou=0.0)
        if (track := models.get(id(pair.predicted))) and track != persons.get(id(pair.verified))
        else pair
        for pair in pairs
    ]
