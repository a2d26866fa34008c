"""Finds which tracks of several reviewers of a strip are the same object.

Tracks that reviewers were shown have one id in all answers. A track that a reviewer drew has an id that no other answer
has, so it is matched by its boxes over all frames: each object of the label then has one id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations

import msgspec

from autolabel.labels.manifest import raw
from autolabel.verification.consolidation import Answer, boxes_of, group_objects


def share_tracks(frames: Iterable[Mapping[int, Answer]], shown: Collection[str] = ()) -> dict[str, str]:
    """Return the id that stands for the id of a drawn track, for those that another reviewer drew too.

    `frames`: the answers to each frame, by the number of the reviewer. `shown`: the ids of tracks that they were shown:
    one of these stands for what others drew anew.
    """
    frames = list(frames)
    drawn = [{number: boxes_of(answer) for number, answer in of.items()} for of in frames]
    reviewers: dict[str, set[int]] = {}
    for of in drawn:
        for number, boxes in of.items():
            for box in boxes:
                reviewers.setdefault(box.track, set()).add(number)
    alone = {id: frozenset(numbers) for id, numbers in reviewers.items() if len(numbers) == 1}
    lengths, together = Counter[str](), Counter[tuple[str, str]]()
    for of in drawn:
        answers = list(of.values())
        own = [box.track for boxes in answers for box in boxes if box.track in alone]
        lengths.update(own)
        for group in group_objects(answers) if len(own) > 1 else ():
            ids = sorted({answers[at][index].track for at, index in group.items()} & alone.keys())
            together.update(combinations(ids, 2))
    groups = {id: {id} for id in alone}
    for (one, other), frames_together in sorted(together.items(), key=lambda pair: (-pair[1], pair[0])):
        first, second = groups[one], groups[other]
        # Two tracks of one reviewer are two objects.
        apart = {number for id in first for number in alone[id]} & {number for id in second for number in alone[id]}
        if not apart and 2 * frames_together > min(lengths[one], lengths[other]):
            first |= second
            groups |= dict.fromkeys(second, first)
    best = {id: min(group, key=lambda one: (one not in shown, one)) for id, group in groups.items()}
    return {id: one for id, one in best.items() if id != one}


def with_shared_tracks(answer: Answer, shared: Mapping[str, str]) -> Answer:
    """Replace the ids of drawn tracks in an answer; one without such ids stays as it is."""
    if not shared:
        return answer
    metadata = msgspec.json.decode(answer.metadata)
    objects = metadata.get("objects", [])
    if not any(one.get("object-id") in shared for one in objects):
        return answer
    metadata["objects"] = [
        one | {"object-id": shared.get(one.get("object-id", ""), one.get("object-id", ""))} for one in objects
    ]
    return answer._replace(metadata=raw(metadata))
