"""Views: what is covered, what stays, and that nothing else of the file is in them."""

from __future__ import annotations

import io
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autolabel.contracts.errors import ImageRefused
from autolabel.labels import Box, Detection, Detections
from autolabel.views import MAX_CELLS, NOISE, cover
from tests.fakes.images import jpeg, png, saved

WIDTH, HEIGHT = 64, 48
MODEL = "blur.0001"


def regions(*found: tuple[str, Box]) -> Detections:
    return Detections(WIDTH, HEIGHT, tuple(Detection(name, box, 0.9, 0.9, name, (MODEL,)) for name, box in found))


def noisy_frame(seed: int, form: str = "PNG") -> bytes:
    """A frame in which neighbouring pixels have nothing in common."""
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return saved(Image.fromarray(pixels), form)


def pixels_of(body: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


def touched(box: Box) -> tuple[slice, slice]:
    left, top, right, bottom = box
    return slice(math.floor(top), math.ceil(bottom)), slice(math.floor(left), math.ceil(right))


boxes = st.tuples(st.floats(0, WIDTH - 1.5), st.floats(0, HEIGHT - 1.5), st.floats(1, WIDTH), st.floats(1, HEIGHT)).map(
    lambda b: (b[0], b[1], min(b[0] + b[2], WIDTH), min(b[1] + b[3], HEIGHT))
)
kinds = st.sampled_from(["plate", "head"])


@given(st.lists(st.tuples(kinds, boxes), max_size=4), st.integers(0, 99))
def test_pixels_outside_of_regions_stay_as_they_are(found: list[tuple[str, Box]], seed: int) -> None:
    frame = noisy_frame(seed)
    view = pixels_of(cover(frame, "f", regions(*found), MODEL))
    outside = np.ones((HEIGHT, WIDTH), bool)
    for _, box in found:
        outside[touched(box)] = False
    assert np.array_equal(view[outside], pixels_of(frame)[outside])


@given(boxes, st.integers(0, 99))
def test_a_plate_shows_nothing_but_its_mean_color(box: Box, seed: int) -> None:
    frame = noisy_frame(seed)
    original, view = pixels_of(frame)[touched(box)], pixels_of(cover(frame, "f", regions(("plate", box)), MODEL))
    mean = original.reshape(-1, 3).mean(axis=0)
    assert np.abs(view[touched(box)] - mean).max() <= NOISE + 1
    # Each pixel's noise is one number, so it has no color of its own.
    noise = view[touched(box)] - mean
    clipped = (view[touched(box)] == 0) | (view[touched(box)] == 255)
    assert np.ptp(np.where(clipped.any(axis=-1, keepdims=True), 0, noise), axis=-1).max() <= 1


@given(boxes, st.integers(0, 99))
def test_a_head_becomes_at_most_four_by_four_cells(box: Box, seed: int) -> None:
    rows, columns = touched(box)
    view = pixels_of(cover(noisy_frame(seed), "f", regions(("head", box)), MODEL))[rows, columns]
    edges_down = (view[1:] != view[:-1]).any(axis=(1, 2)).sum()
    edges_across = (view[:, 1:] != view[:, :-1]).any(axis=(0, 2)).sum()
    assert edges_down <= min(MAX_CELLS - 1, max(0, view.shape[0] // 3 - 1))
    assert edges_across <= min(MAX_CELLS - 1, max(0, view.shape[1] // 3 - 1))


def test_a_face_in_a_head_gets_the_cells_of_the_head() -> None:
    frame, head, face = noisy_frame(5), ("head", (8.0, 8.0, 56.0, 40.0)), ("head", (20.0, 12.0, 32.0, 24.0))
    assert cover(frame, "f", regions(face, head), MODEL) == cover(frame, "f", regions(head), MODEL)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_the_same_frame_and_model_give_the_same_bytes_and_another_model_others(form: str) -> None:
    frame, found = noisy_frame(1, form), regions(("plate", (4, 4, 40, 20)), ("head", (30, 10, 60, 40)))
    again = regions(("head", (30, 10, 60, 40)), ("plate", (4, 4, 40, 20)))
    assert cover(frame, "f", found, MODEL) == cover(frame, "f", again, MODEL)
    assert cover(frame, "f", found, MODEL) != cover(frame, "f", found, "blur.0002")
    assert cover(frame, "f", found, MODEL) != cover(noisy_frame(2, form), "f", found, MODEL)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_view_has_the_size_and_format_of_its_frame_and_no_metadata(form: str) -> None:
    picture = Image.open(io.BytesIO(noisy_frame(3)))
    exif = Image.Exif()
    exif[0x010E] = "a description that names somebody"
    thumbnail = b"\xff\xd8 a thumbnail of the original"
    frame = saved(picture, form, exif=exif.tobytes() + thumbnail, comment=b"a comment", icc_profile=b"a profile")
    view = cover(frame, "f", regions(("plate", (4, 4, 40, 20))), MODEL)
    shown = Image.open(io.BytesIO(view))
    assert (shown.format, shown.size) == (form, (WIDTH, HEIGHT))
    assert set(shown.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert not any(word in view for word in (b"somebody", b"thumbnail", b"comment", b"profile"))


def test_a_plate_is_covered_in_a_jpeg_too() -> None:
    color = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    color[8:24:2, 8:40] = 255
    view = pixels_of(cover(saved(Image.fromarray(color), "JPEG"), "f", regions(("plate", (8, 8, 40, 24))), MODEL))
    assert np.ptp(view[10:22, 10:38].astype(int).mean(axis=(1, 2))) < NOISE


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (png()[:60], regions()),
        (jpeg()[:200], regions()),
        (b"GIF89a", regions()),
        (png(WIDTH + 1, HEIGHT), regions()),
    ],
)
def test_a_frame_that_cannot_be_covered_is_refused_by_its_name(body: bytes, found: Detections) -> None:
    with pytest.raises(ImageRefused, match="drives/d/front/1"):
        cover(body, "drives/d/front/1", found, MODEL)
