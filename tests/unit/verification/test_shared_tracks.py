"""Tracks that several reviewers drew: which of them are one object."""

from __future__ import annotations

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.manifest import BoxAnnotation, BoxLabel, BoxObject, ImageSize, raw
from autolabel.verification.consolidation import Answer
from autolabel.verification.shared_tracks import share_tracks

FRAMES = 10
# A track: from the first frame to the one before the last.
SPAN = st.tuples(st.integers(0, FRAMES - 1), st.integers(1, FRAMES)).filter(lambda span: span[0] < span[1])
# By reviewer and lane, the tracks that a reviewer drew there; two on one lane are drawn one after the other.
DRAWN = st.dictionaries(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.lists(SPAN, min_size=1, max_size=2))


def answers(drawn: dict[str, tuple[int, int, range]]) -> list[dict[int, Answer]]:
    """The answers to each frame. `drawn`: by id, the reviewer, the lane and the frames of a track."""
    frames = []
    for at in range(FRAMES):
        of: dict[int, Answer] = {}
        for reviewer in sorted({one[0] for one in drawn.values()}):
            here = [(id, lane) for id, (own, lane, span) in drawn.items() if own == reviewer and at in span]
            # Two people never draw the same pixels.
            boxes = [BoxAnnotation(0, 10 + at + reviewer, 10 + 100 * lane, 60, 50) for _, lane in here]
            label = BoxLabel([ImageSize(640, 400, 3)], boxes)
            metadata = {"objects": [BoxObject(track=id) for id, _ in here], "class-map": {"0": "car"}}
            of[reviewer] = Answer(raw(label), raw(metadata))
        frames.append(of)
    return frames


def tracks(given: dict[tuple[int, int], list[tuple[int, int]]]) -> dict[str, tuple[int, int, range]]:
    found = {}
    for (reviewer, lane), spans in given.items():
        end = 0
        for number, (first, last) in enumerate(sorted(spans)):
            if (span := range(max(first, end), last)) and span.start < span.stop:
                found[f"{reviewer}-{lane}-{number}"] = reviewer, lane, span
                end = last
    return found


@given(DRAWN, st.permutations(range(3)))
def test_tracks_of_one_object_share_an_id_and_no_others_do(
    given_tracks: dict[tuple[int, int], list[tuple[int, int]]], order: list[int]
) -> None:
    drawn = tracks(given_tracks)
    shared = share_tracks(answers(drawn))
    name = {id: shared.get(id, id) for id in drawn}
    for one, other in combinations(drawn, 2):
        (by, lane, span), (by_other, lane_other, span_other) = drawn[one], drawn[other]
        if by == by_other or lane != lane_other:
            assert name[one] != name[other]
        alone = sum(of[1] == lane for of in drawn.values()) == 2
        if by != by_other and lane == lane_other and alone:
            # Together in more than half of the shorter one.
            together = len({*span} & {*span_other})
            assert (name[one] == name[other]) == (2 * together > min(len(span), len(span_other)))
    # It does not depend on the order of the reviewers.
    turned = {id: (order[by], lane, span) for id, (by, lane, span) in drawn.items()}
    again = share_tracks(answers(turned))
    assert {id: again.get(id, id) for id in drawn} == name


@given(st.lists(st.sampled_from(["t1", "t2", "x", "y"]), min_size=2, max_size=2, unique=True))
def test_tracks_that_two_reviewers_have_keep_their_ids(ids: list[str]) -> None:
    both = {f"{id}": (0, lane, range(FRAMES)) for lane, id in enumerate(ids)}
    frames = answers(both)
    for of, reviewer in product(frames, (1, 2)):
        of[reviewer] = of[0]
    assert share_tracks(frames) == {}
