"""`evaluate masks` scores a segmenter on scenes whose masks are known exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from autolabel.labels import Box
from autolabel.models import Mask
from autolabel.models.segmenters import Rle
from autolabel_cli.__main__ import main
from autolabel_cli.evaluation.drawn_scenes import draw_scene
from autolabel_cli.evaluation.masks import MOST_PICTURES, boundary_f, evaluate_masks
from tests.fakes.segmenters import EllipseSegmenter
from tests.servers.serving import serving

SEED = 3


class Oracle:
    """Knows the true masks of a seed's scenes. `wider`: moves them by that many pixels to the right."""

    url = "http://oracle"

    def __init__(self, wider: int = 0) -> None:
        self._next = SEED * MOST_PICTURES
        self._wider = wider

    def segment(self, image: bytes, media: str, boxes: Sequence[Box], width: int, height: int) -> tuple[Mask, ...]:
        scene = draw_scene(self._next)
        self._next += 1
        found = [np.roll(one.mask, self._wider, axis=1) for one in scene.objects]
        return tuple(
            Mask(Rle((height, width), coco.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode()), 0.7, False)
            for pixels in found
        )


def measured(segmenter: Any, **options: Any) -> Any:
    given = {"pictures": 2, "seed": SEED, "moved": 0.0, "tolerance": 2} | options
    return evaluate_masks(segmenter, "oracle", tell=lambda count, total: None, **given)


def test_true_masks_have_full_marks_and_filled_boxes_have_not() -> None:
    document = measured(Oracle())
    assert (document.ap, document.ap50, document.ap75, document.ap50_interval) == (1, 1, 1, (1, 1))
    assert {(of.iou, of.boundary_f) for of in document.scores.values() if of.objects} == {(1.0, 1.0)}
    assert document.boxes.ap < 0.3
    assert sum(document.scores[kind].objects for kind in ("free", "hidden")) == document.scores["all"].objects
    assert not document.draft


def test_masks_that_are_off_by_the_tolerance_keep_their_boundaries_and_lose_precision() -> None:
    document = measured(Oracle(wider=2))
    assert document.scores["all"].boundary_f > 0.97
    assert document.scores["all"].iou < 0.95
    assert document.ap < 0.9
    assert measured(Oracle(wider=2), tolerance=0).scores["all"].boundary_f < 0.7


@given(st.integers(0, 30), st.integers(0, 5))
def test_the_boundary_f_of_a_moved_edge_depends_on_the_tolerance_alone(by: int, tolerance: int) -> None:
    one, other = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    one[:, :20], other[:, : 20 + by] = True, True
    # The border of the picture does not count, so the edge is the whole boundary.
    assert boundary_f(one, other, tolerance) == boundary_f(other, one, tolerance) == float(by <= tolerance)


def test_a_mask_without_a_boundary_is_right_only_beside_another() -> None:
    empty, some = np.zeros((9, 9), bool), np.eye(9, dtype=bool)
    assert (boundary_f(empty, empty, 2), boundary_f(empty, some, 2), boundary_f(some, empty, 2)) == (1, 0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_true_masks_are_apart_and_fill_their_boxes(seed: int) -> None:
    scene = draw_scene(seed)
    assert scene.encoded() == draw_scene(seed).encoded()
    assert np.sum([one.mask for one in scene.objects], axis=0).max() <= 1
    for one in scene.objects:
        left, top, right, bottom = map(int, one.box)
        inside = one.mask[top:bottom, left:right]
        assert inside.sum() == one.mask.sum()
        assert [inside[0].any(), inside[-1].any(), inside[:, 0].any(), inside[:, -1].any()] == [True] * 4


def test_moved_boxes_of_a_container_are_inside_the_picture_and_their_masks_drafts() -> None:
    segmenter = EllipseSegmenter()
    with serving(segmenter) as port:
        arguments = ["evaluate", "masks", "--url", f"http://127.0.0.1:{port}", "--pictures", "3", "--moved", "0.3"]
        done = CliRunner().invoke(main, [*arguments, "--json"])
        shown = CliRunner().invoke(main, arguments)
    document = json.loads(done.stdout)
    assert (document["draft"], document["pictures"], document["moved"]) == (True, 3, 0.3)
    assert document["scores"]["all"]["objects"] == sum(len(asked.boxes) for asked in segmenter.asked) / 2
    assert "a person must accept each" in shown.output


def test_a_failing_container_is_named_with_its_picture() -> None:
    with serving(EllipseSegmenter("fails")) as port:
        done = CliRunner().invoke(main, ["evaluate", "masks", "--url", f"http://127.0.0.1:{port}", "--seed", "9"])
    assert done.exit_code == 1
    assert "picture 0 of seed 9: status 500" in done.output


def test_a_detector_is_no_segmenter() -> None:
    done = CliRunner().invoke(main, ["evaluate", "masks", "--model", "yolox-nano"])
    assert done.exit_code == 1
    assert "no segmenter" in done.output
