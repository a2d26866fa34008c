"""Objects of a blind strip get the ids of the models' tracks, each id once."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.verification import BLIND_AUDIT
from autolabel.datasets.joining import carry_tracks
from autolabel.datasets.strip_tracks import adopt_track_ids
from autolabel.labels.manifest import LabelledBy, ManifestLine, Origin, PrelabelTracks
from tests.fakes.lines import line, parsed

# For each place in a frame, the models' track and the person's object, empty if there is no box of theirs.
Places = dict[str, str]
ids = st.permutations(["a", "b", "c", ""])
objects = st.permutations(["x", "y", "z", ""])


def frame(index: int, models: list[str], persons: list[str], kind: str = BLIND_AUDIT) -> ManifestLine:
    """A frame with four places. `models`, `persons`: the ids of their boxes, empty for no box."""

    def label(ids: list[str]) -> dict[str, Any]:
        boxes = [("car", 100.0 * at, 0.0, 100.0 * at + 50, 50.0) for at, id in enumerate(ids) if id]
        found: dict[str, Any] = json.loads(line(index, boxes))
        return found

    body, left = label(models), label(persons)
    body |= {"verified": left["prelabel"], "verified-metadata": left["prelabel-metadata"]}
    for thing, id in zip(body["verified-metadata"]["objects"], filter(None, persons), strict=True):
        thing["object-id"] = id
    body["provenance"] |= {"labelled-by": LabelledBy.PERSON, "triage": kind}
    one = parsed(body)
    tracks = tuple(filter(None, models))
    one.prelabel_tracks = PrelabelTracks(tracks, (Origin.MODEL,) * len(tracks))
    one.tracks, one.origins = carry_tracks(one, one.prelabel_tracks)
    return one


@given(st.lists(st.tuples(ids, objects), max_size=12), st.integers(0, 12))
def test_an_object_has_one_id_and_an_id_one_object_over_the_border_of_shards(
    frames: list[tuple[list[str], list[str]]], border: int
) -> None:
    lines = [frame(index, *both) for index, both in enumerate(frames)]
    adopt_track_ids(lines[border:], adopt_track_ids(lines[:border], {}))
    names = defaultdict[str, set[str]](set)
    for one, (_, persons) in zip(lines, frames, strict=True):
        for own, name in zip(filter(None, persons), one.tracks or (), strict=True):
            names[own].add(name)
    assert all(len(found) == 1 for found in names.values())
    assert len(set.union(set(), *names.values())) == len(names)
    assert all(found <= {own, "a", "b", "c"} for own, found in names.items())


def test_the_track_with_the_most_boxes_counts_and_other_frames_keep_theirs() -> None:
    lines = [frame(0, ["a"], ["x"]), frame(1, ["b"], ["x"]), frame(2, ["b"], ["x"]), frame(3, ["a"], ["y"])]
    shown = frame(4, ["b"], ["x"], kind="doubtful")
    assert adopt_track_ids([*lines, shown], {}) == {"x": "b", "y": "a"}
    assert [one.tracks for one in (*lines, shown)] == [("b",), ("b",), ("b",), ("a",), ("x",)]


def test_an_object_keeps_its_id_in_the_shard_that_follows() -> None:
    assert adopt_track_ids([frame(0, ["b"], ["x"])], {"x": "a"}) == {"x": "a"}
    assert adopt_track_ids([frame(0, [], ["x"])], {"x": "a", "gone": "b"}) == {"x": "a"}
    assert adopt_track_ids([frame(0, ["a"], ["x"])], adopt_track_ids([frame(0, [], ["x"])], {})) == {"x": "x"}
