"""One label of the answers of several reviewers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from autolabel.labels.manifest import raw
from autolabel.labels.reviews import Effort, Marks, Review
from autolabel.verification.consolidation import Answer, Consolidated, consolidate
from tests.fakes.lines import LABELS, SIZE, line, parsed

Drawn = tuple[str, int, int, int, int]
CAR: Drawn = ("car", 100, 50, 80, 40)
# Its IoU with CAR is .9, and with NEAR .78; FAR and CAR have .6, which is badly placed.
NEAR: Drawn = ("car", 104, 50, 80, 40)
FAR: Drawn = ("car", 120, 50, 80, 40)
PERSON: Drawn = ("person", 300, 40, 30, 90)
SHOWN = parsed(line(0, [("car", 100.0, 50.0, 180.0, 90.0)]))


def answer(worker: str, *boxes: Drawn, at: int = 0, script: bool = False, **review: Any) -> Answer:
    names = [box[0] for box in boxes]
    sides = ("left", "top", "width", "height")
    label = {
        "image_size": [{"width": SIZE[0], "height": SIZE[1], "depth": 3}],
        "annotations": [{"class_id": LABELS.index(n), **dict(zip(sides, box, strict=True))} for n, *box in boxes],
    }
    metadata = {
        "objects": [{"confidence": 0.0} for _ in boxes],
        "class-map": {str(LABELS.index(name)): name for name in dict.fromkeys(names)},
        "type": "groundtruth/object-detection",
        "adjustment-status": "adjusted",
        "human-annotated": "no" if script else "yes",
        "creation-date": f"2026-01-02T00:00:{at:02d}.000000",
        "job-name": "labeling-job/j",
    }
    return Answer(raw(label), raw(metadata), Review(worker=worker, **review))


def places(made: Consolidated) -> list[Drawn]:
    label, metadata = (msgspec.json.decode(part) for part in made.answer[:2])
    return [
        (metadata["class-map"][str(a["class_id"])], a["left"], a["top"], a["width"], a["height"])
        for a in label["annotations"]
    ]


def of(*answers: Answer, asked: int | None = None) -> Consolidated:
    return consolidate(SHOWN, answers, asked or len(answers))


def disputed(made: Consolidated) -> list[Drawn]:
    return [(c.label, c.left, c.top, c.width, c.height) for c in made.consensus.disputed]


boxes = st.lists(
    st.tuples(
        st.sampled_from(LABELS), st.integers(0, 60), st.integers(0, 60), st.integers(20, 60), st.integers(20, 60)
    ),
    max_size=6,
)
answers = st.builds(
    lambda worker, drawn, at: answer(worker, *drawn, at=at), st.sampled_from("abcde"), boxes, st.integers(0, 3)
)


@given(st.lists(answers, min_size=1, max_size=7).flatmap(lambda one: st.tuples(st.just(one), st.permutations(one))))
def test_neither_order_nor_repetition_of_answers_matters(both: tuple[list[Answer], list[Answer]]) -> None:
    given, shuffled = both
    made = consolidate(SHOWN, given, 5)
    assert consolidate(SHOWN, [*shuffled, *given[:2]], 5) == made


@given(boxes, st.integers(2, 5))
def test_the_same_answer_of_all_is_that_answer(drawn: Sequence[Drawn], reviewers: int) -> None:
    one = answer("a", *drawn)
    made = of(*(answer(worker, *drawn) for worker in "abcde"[:reviewers]))
    assert made.answer.label == one.label
    assert not disputed(made)
    assert all(len(set(values)) == 1 for values in made.consensus.objects)


@given(boxes, st.integers(1, 5))
def test_a_single_answer_stays_to_the_byte(drawn: Sequence[Drawn], asked: int) -> None:
    one = answer("a", *drawn, seconds=4.0, boxes=(Marks(occluded=True),) * len(drawn))
    made = of(one, asked=asked)
    assert made.answer == one
    assert (made.consensus.is_short, made.consensus.objects) == (asked > 1, ())


@given(st.lists(boxes, min_size=2, max_size=5))
def test_each_box_of_an_answer_belongs_to_one_object(drawn: list[list[Drawn]]) -> None:
    objects = of(*(answer("abcde"[i], *one) for i, one in enumerate(drawn))).consensus.objects
    for reviewer, one in enumerate(drawn):
        assert sorted(v[reviewer] for v in objects if v[reviewer]) == sorted(name for name, *_ in one)


def test_a_majority_keeps_a_box_and_sides_are_medians() -> None:
    made = of(answer("a", CAR, PERSON), answer("b", NEAR), answer("c", ("car", 101, 49, 82, 41)))
    assert places(made) == [("car", 101, 50, 82, 40)]
    assert made.consensus.objects == (("car", "car", "car"), ("person", "", ""))
    assert not disputed(made)


def test_a_majority_names_the_class() -> None:
    made = of(answer("a", CAR), answer("b", ("person", *CAR[1:])), answer("c", NEAR))
    assert places(made) == [("car", 102, 50, 80, 40)]
    assert msgspec.json.decode(made.answer.metadata)["objects"] == [{"confidence": 0.67}]
    assert not disputed(made)


def test_what_no_majority_decides_is_disputed() -> None:
    presence = of(answer("a", CAR, PERSON), answer("b", CAR))
    assert (places(presence), disputed(presence)) == ([CAR], [PERSON])
    name = of(answer("a", CAR), answer("b", ("person", *CAR[1:])))
    assert (places(name), disputed(name)) == ([("person", *CAR[1:])], [CAR])
    sides = of(answer("a", CAR), answer("b", NEAR), answer("c", FAR))
    assert (places(sides), disputed(sides)) == ([NEAR], [CAR, FAR])


def test_a_box_joins_the_object_that_it_fits_best() -> None:
    other: Drawn = ("car", 130, 50, 80, 40)
    made = of(answer("a", CAR, other), answer("b", other, CAR), answer("c", FAR))
    assert made.consensus.objects == (("car", "car", "car"), ("car", "car", ""))


def test_reviews_add_up() -> None:
    made = of(
        answer("b", CAR, seconds=2.0, keys=3, edits={"add": Effort(1, 1.5)}, boxes=(Marks(occluded=True),)),
        answer("a", CAR, seconds=3.0, unsure=True, comment="fog", boxes=(Marks(occluded=True),)),
        answer("c", CAR, edits={"add": Effort(2, 1.0)}),
    )
    assert made.answer.review == Review(
        seconds=5.0,
        keys=3,
        edits={"add": Effort(3, 2.5)},
        unsure=True,
        comment="fog",
        boxes=(Marks(occluded=True),),
        workers=("a", "b", "c"),
    )


def test_the_label_says_whether_it_differs_from_what_was_shown_and_who_made_it() -> None:
    def metadata(*given: Answer) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(of(*given).answer.metadata)
        return found

    kept = metadata(answer("a", CAR), answer("b", CAR, at=1))
    assert (kept["adjustment-status"], kept["human-annotated"]) == ("unadjusted", "yes")
    assert kept["creation-date"] == "2026-01-02T00:00:01.000000"
    assert metadata(answer("a", NEAR), answer("b", NEAR))["adjustment-status"] == "adjusted"
    assert metadata(answer("a", CAR), answer("b", CAR, script=True))["human-annotated"] == "no"
