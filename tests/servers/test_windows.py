"""Windows of a frame: the layout of tiles, and objects that tiles cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.servers.detections import Detections
from models.servers.images import Image
from models.servers.windows import Window, look, tiles, whole

WIDTH, HEIGHT = 1200, 400
Box = tuple[float, float, float, float]
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.intp))


def frame_of(*objects: Box) -> Image:
    """A black frame in which each pixel of an object has the object's number, from 1."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, (left, top, right, bottom) in enumerate(objects, 1):
        frame[int(top) : int(bottom), int(left) : int(right)] = number
    return frame


def exact(*classes: int) -> Callable[[Image], Detections]:
    """A detector that finds the visible part of each object exactly; larger parts score higher."""

    def detect(image: Image) -> Detections:
        height, width = image.shape[:2]
        rows = []
        for number, name in enumerate(classes, 1):
            ys, xs = np.nonzero(image[:, :, 0] == number)
            if len(xs):
                box = [xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height]
                rows.append((box, len(xs) / (WIDTH * HEIGHT), name))
        if not rows:
            return NOTHING
        boxes, scores, names = zip(*rows, strict=True)
        return Detections(np.array(boxes, np.float32), np.array(scores, np.float32), np.array(names, np.intp))

    return detect


def pixels(found: Detections) -> list[list[float]]:
    frame = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    return sorted([[round(float(edge), 1) for edge in box] for box in found.boxes * frame])


def test_neighbouring_tiles_share_a_fifth() -> None:
    assert tiles(900, 300, 2) == [Window(0, 0, 500, 300), Window(400, 0, 900, 300)]


def test_tiles_of_a_portrait_frame_are_one_above_the_other() -> None:
    assert tiles(300, 900, 2) == [Window(0, 0, 300, 500), Window(0, 400, 300, 900)]


@example(width=1, height=1, count=3)
@given(width=st.integers(1, 5000), height=st.integers(1, 5000), count=st.integers(2, 5))
def test_tiles_are_inside_the_frame_and_cover_it(width: int, height: int, count: int) -> None:
    windows = tiles(width, height, count)
    assert len(windows) == count
    covered = np.zeros(max(width, height), bool)
    for window in windows:
        assert 0 <= window.left < window.right <= width
        assert 0 <= window.top < window.bottom <= height
        covered[window.left if width >= height else window.top :][
            : (window.right - window.left) if width >= height else (window.bottom - window.top)
        ] = True
    assert covered.all()


def test_an_empty_frame_has_no_detections() -> None:
    assert len(look(frame_of(), tiles(WIDTH, HEIGHT, 2), exact()).boxes) == 0


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("left", range(0, 1000, 37))
def test_an_object_is_found_once_and_whole_at_every_place(left: int, count: int) -> None:
    # Two tiles share 133 pixels and three share 92: at some places no tile shows the whole object.
    thing = (left, 100, left + 150, 300)
    found = look(frame_of(thing), tiles(WIDTH, HEIGHT, count), exact(2))
    assert pixels(found) == [list(thing)]


def test_an_object_at_the_frames_own_border_is_not_cut() -> None:
    things = [(0, 100, 100, 300), (1100, 0, 1200, 400)]
    assert pixels(look(frame_of(*things), tiles(WIDTH, HEIGHT, 2), exact(2, 2))) == [list(t) for t in things]


@pytest.mark.parametrize("count", [2, 3])
def test_an_object_larger_than_every_tile_is_joined_from_its_pieces(count: int) -> None:
    lorry = (100, 50, 1100, 350)
    assert pixels(look(frame_of(lorry), tiles(WIDTH, HEIGHT, count), exact(7))) == [list(lorry)]


def test_pieces_of_different_classes_or_heights_are_not_joined() -> None:
    def detect(image: Image) -> Detections:
        # One tile says car, the other truck. Each also finds an object at another height.
        first = bool(image[200, 0, 0] == 0)
        boxes = [[0.4, 0.5, 1, 1], [0.5, 0, 1, 0.1]] if first else [[0, 0.5, 0.5, 1], [0, 0.3, 0.5, 0.4]]
        return Detections(
            np.array(boxes, np.float32), np.array([0.9, 0.8], np.float32), np.array([2 if first else 7, 0])
        )

    found = look(frame_of((480, 0, 1200, 400)), tiles(WIDTH, HEIGHT, 2), detect)
    assert len(found.boxes) == 4


def test_with_the_whole_frame_as_a_window_no_pieces_are_left() -> None:
    lorry = (100, 50, 1100, 350)
    windows = [*whole(WIDTH, HEIGHT), *tiles(WIDTH, HEIGHT, 3)]
    assert pixels(look(frame_of(lorry), windows, exact(7))) == [list(lorry)]


def test_an_object_whole_in_two_windows_is_found_once_with_the_best_score() -> None:
    def detect(image: Image) -> Detections:
        seen = exact(2)(image)
        return Detections(seen.boxes, np.full(len(seen.scores), 0.9 if image[0, 0, 0] == 0 else 0.4), seen.classes)

    found = look(frame_of((560, 100, 640, 300)), tiles(WIDTH, HEIGHT, 2), detect)
    assert pixels(found) == [[560, 100, 640, 300]]
    assert found.scores.tolist() == pytest.approx([0.9])
