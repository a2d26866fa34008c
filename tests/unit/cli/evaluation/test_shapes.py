"""Folders of every shape are evaluated without an error, and what is known of them comes out."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.evaluation.generated import ALL_OF_STUB, WRITERS, Picture, Thing

Evaluated = Callable[..., dict[str, Any]]

# Coordinates that stay apart by more than rounding.
sides = st.integers(0, 19).flatmap(
    lambda low: st.tuples(st.just(low / 20), st.integers(low + 1, 20).map(lambda n: n / 20))
)
things = st.builds(
    lambda name, x, y: Thing(name, (x[0], y[0], x[1], y[1])),
    st.sampled_from(["car", "truck", "person", "van", "bus", "bicycle", "kangaroo"]),
    sides,
    sides,
)
labels = st.none() | st.just(()) | st.just(ALL_OF_STUB) | st.lists(things, max_size=4).map(tuple)


def pictures(labels: st.SearchStrategy[tuple[Thing, ...] | None]) -> st.SearchStrategy[list[Picture]]:
    one = st.builds(
        Picture,
        st.sampled_from(["a", "b", "0001", "deep/a", "deep/er/a", "with space/b.c"]),
        st.integers(20, 300),
        st.integers(20, 200),
        labels,
        st.sampled_from([".png", ".PNG", ".jpg", ".JPEG"]),
    )
    return st.lists(one, min_size=1, max_size=5, unique_by=lambda picture: picture.place)


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=25)
@given(pictures(labels))
def test_every_shape_of_folder_is_counted_as_it_is(form: str, evaluated: Evaluated, drawn: list[Picture]) -> None:
    labelled = [one for one in drawn if one.things is not None]
    if not labelled:
        return
    with tempfile.TemporaryDirectory() as folder:
        WRITERS[form](Path(folder), drawn)
        document = evaluated(Path(folder), "--level", "all")
    assert document["frames"] == len(labelled)
    assert document["left_out"].get("images without labels", 0) == len(drawn) - len(labelled)
    named = Counter(thing.name for one in labelled for thing in one.things or ())
    assert document["unknown_classes"] == ({"kangaroo": named["kangaroo"]} if named["kangaroo"] else {})
    found = document["fused"]
    assert {"vehicle", "person or rider"} <= set(found)
    for name in ("car", "truck", "person", "van", "bus", "bicycle"):
        assert found.get(name, {"objects": 0})["objects"] == named[name]
    assert set(document["edits_per_frame"]) == {"all", "some", "fused"}
    assert set(document["best_alone"]) == set(found)
    for scores in found.values():
        given = [scores[name] for name in ("ap50", "ap70", "precision", "recall")]
        assert all(value is None or 0.0 <= value <= 1.0 for value in given)
        assert (scores["ap50"] is None) == (scores["recall"] is None) == (scores["objects"] == 0)


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=25)
@given(pictures(st.just(ALL_OF_STUB)))
def test_labels_that_a_model_finds_exactly_need_no_edit(form: str, evaluated: Evaluated, drawn: list[Picture]) -> None:
    large = [Picture(one.place, one.width + 60, one.height + 60, one.things, one.suffix) for one in drawn]
    with tempfile.TemporaryDirectory() as folder:
        WRITERS[form](Path(folder), large)
        document = evaluated(Path(folder), "--level", "all")
    assert document["edits_per_frame"]["all"] == 0.0
    for name in ("vehicle", "person or rider", "car", "truck", "person"):
        best = document["best_alone"][name]
        assert (best["model"], best["objects"]) == ("all", len(drawn) * (2 if name == "vehicle" else 1))
        assert [best[of] for of in ("ap50", "ap70", "precision", "recall")] == [1.0] * 4


def test_all_formats_give_the_same_scores(evaluated: Evaluated, tmp_path: Path) -> None:
    moved = Thing("car", (0.14, 0.4, 0.34, 0.7))
    missed = Thing("person", (0.6, 0.1, 0.7, 0.2))
    drawn = [
        Picture("a", 300, 200, (moved, ALL_OF_STUB[1], missed)),
        Picture("b", 120, 90, ()),
        Picture("sub/a", 250, 250, ALL_OF_STUB, ".JPG"),
    ]
    found = []
    for form, write in WRITERS.items():
        write(tmp_path / form, drawn)
        document = evaluated(tmp_path / form, "--level", "all")
        # The scores of the model that finds some depend on the bytes of the images alone.
        found.append({name: document[name] for name in ("frames", "best_alone", "edits_per_frame")})
        assert document["format"] == form
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("form", ["kitti", "coco"])
def test_boxes_in_regions_are_not_wrong(form: str, evaluated: Evaluated, tmp_path: Path) -> None:
    everywhere = (0.0, 0.0, 1.0, 1.0)
    WRITERS[form](
        tmp_path, [Picture("a", 300, 200, tuple(Thing(t.name, everywhere, region=True) for t in ALL_OF_STUB))]
    )
    document = evaluated(tmp_path)
    assert document["edits_per_frame"]["all"] == 0.0
    assert document["fused"]["vehicle"] == {"objects": 0, "ap50": None, "ap70": None, "precision": None, "recall": None}
