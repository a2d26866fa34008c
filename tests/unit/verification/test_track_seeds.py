"""Seeds over stretches and in strips: settling takes them out, and the rest of a reviewer's tracks stands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import UNSET

from autolabel.contracts.run_folder import RunFolder
from autolabel.labels.manifest import ManifestLine, ShownUncertainty, read_line, with_values
from autolabel.triage.corrections import DEFAULTS, INVENTED, OTHER_CLASS, REMOVED, SHIFTED, SWAPPED, ErrorKind
from autolabel.triage.seeds import Seed, make_seed, placed_box, sow, unsow
from autolabel.triage.track_seeds import STRETCH, StretchFrame, make_stretch, make_track_seed, strip_objects
from autolabel.verification.settlement import Result, Settled
from tests.fakes.track_jobs import Boxes, Review
from tests.unit.verification.test_sequences import CLASSES, MANIFEST, Box, Round, boxes_of, line

FOLDER = RunFolder("drive-7", "0001")
KINDS = {kind: [one for one in DEFAULTS if one.kind == kind] for kind in (SHIFTED, OTHER_CLASS, INVENTED, REMOVED)}
SIZE = {"width": 640, "height": 272, "depth": 3}
SIDES = ("left", "top", "width", "height")
FRAMES = 12
Shown = dict[str, Any]
# Changes a box of a frame, or deletes it.
Edit = Callable[[Shown], Shown | None]


def strip_of(tracks: Sequence[Sequence[Box]]) -> list[ManifestLine]:
    """The frames of a camera. `tracks`: the boxes of each object by frame; its first and last box are uncertain."""
    lines = []
    for at, boxes in enumerate(zip(*tracks, strict=True)):
        one = line("front", at, list(boxes))
        one.prelabel = with_values(one.prelabel, {"image_size": [SIZE]})
        names = {box[0] for box in boxes}
        class_map = {str(id): name for id, name in enumerate(CLASSES) if name in names}
        one.prelabel_metadata = with_values(one.prelabel_metadata, {"class-map": class_map})
        level = 0.5 if at in (0, FRAMES - 1) else 0.05
        one.uncertainty = ShownUncertainty(0.3, (level,) * len(boxes), (), ())
        lines.append(one)
    return lines


@st.composite
def strips(draw: st.DrawFn) -> list[ManifestLine]:
    """Three objects, each on a lane of its own."""
    tracks = []
    for lane in range(3):
        name, speed = draw(st.sampled_from(CLASSES)), draw(st.integers(-5, 5))
        left, width, height = draw(st.integers(120, 400)), draw(st.integers(30, 80)), draw(st.integers(30, 60))
        tracks.append([(name, left + at * speed, 10 + lane * 90, width, height, f"t{lane}") for at in range(FRAMES)])
    return strip_of(tracks)


def crossing() -> list[ManifestLine]:
    """Two cars that pass each other, and a person."""
    ahead: list[Box] = [("car", 100 + 20 * at, 100, 60, 50, "t0") for at in range(FRAMES)]
    against: list[Box] = [("car", 300 - 20 * at, 125, 60, 50, "t1") for at in range(FRAMES)]
    return strip_of([ahead, against, [("person", 500, 10, 30, 60, "t2")] * FRAMES])


class Reviewed(NamedTuple):
    settled: Settled
    results: list[Result]
    again: list[ManifestLine]


def review(lines: list[ManifestLine], seeds: dict[str, Seed], review: Review) -> Reviewed:
    """Show the frames with their seeds as one strip, and settle what the reviewer leaves."""
    made = Round([sow(one, seeds[one.source_ref]) if one.source_ref in seeds else one for one in lines], 100)
    made.labels.write(FOLDER.acceptance_criteria, b'{"max_objects": 1, "seeds": "x"}')
    made.labels.write(FOLDER.seeds("x"), b"\n".join(map(msgspec.json.encode, seeds.values())))
    settled, results = made.answer(review).settle()
    again = made.labels.lines(settled.again.manifest.removeprefix("s3://labels/")) if settled.again else ()
    assert MANIFEST not in (settled.again.manifest if settled.again else "")
    return Reviewed(settled, results, [read_line(body) for body in again])


def changed(box: Shown, edit: str) -> Shown | None:
    if edit == "deleted":
        return None
    changes = {
        "kept": {},
        "moved": {"left": box["left"] + 6},
        "renamed": {"class-id": str((int(box["class-id"]) + 1) % len(CLASSES))},
        "joined": {"object-id": f"new-{box['object-id']}"},
    }
    return box | changes[edit]


def boxes_with(seed: Seed, which: str, id: str) -> Shown:
    box = seed.right if which == "right" else seed.shown
    assert box is not None
    sides = {side: getattr(box, side) for side in SIDES}
    return {"class-id": str(box.class_id), **sides, "object-id": id, "object-name": box.name}


@st.composite
def seeded(draw: st.DrawFn) -> tuple[list[ManifestLine], dict[str, Seed]]:
    lines, kind = draw(strips()), draw(st.sampled_from(tuple(KINDS)))
    found = make_track_seed(lines, "t1", draw(st.text("abc", min_size=1, max_size=3)), KINDS[kind], CLASSES)
    assume(found)
    return lines, {seed.source_ref: seed for seed in found}


@given(seeded())
def test_a_seed_in_a_strip_goes_on_and_can_be_undone_exactly(made: tuple[list[ManifestLine], dict[str, Seed]]) -> None:
    lines, seeds = made
    (kind,) = {seed.kind for seed in seeds.values()}
    assert len({seed.stretch for seed in seeds.values()}) == 1
    # Frames in a row; a class and a removed object do not change within the strip.
    places = [at for at, one in enumerate(lines) if one.source_ref in seeds]
    assert places == list(range(places[0], places[-1] + 1))
    assert len(places) == FRAMES if kind in (OTHER_CLASS, REMOVED) else len(places) >= 3
    assert len({(seed.shown.name, seed.shown.track) for seed in seeds.values() if seed.shown}) <= 1
    for one in lines:
        if seed := seeds.get(one.source_ref):
            assert json.loads(msgspec.json.encode(unsow(sow(one, seed), seed))) == json.loads(msgspec.json.encode(one))


@given(seeded(), st.data())
def test_tracks_are_as_without_the_seed(made: tuple[list[ManifestLine], dict[str, Seed]], data: st.DataObject) -> None:
    lines, seeds = made
    kind = next(iter(seeds.values())).kind
    by_name = {source.rpartition("/")[2]: seed for source, seed in seeds.items()}
    fixed = data.draw(st.sets(st.sampled_from(sorted(by_name))) | st.just(set(by_name)) | st.just(set()))
    edits = data.draw(
        st.lists(st.sampled_from(("kept", "deleted", "moved", "renamed", "joined")), min_size=3, max_size=3)
    )
    # What the reviewer makes of a seed's box, without seeing the error.
    beside = {SHIFTED: ("kept", "renamed", "joined"), OTHER_CLASS: ("kept", "moved", "joined")}.get(kind, ("kept",))
    unaware = data.draw(st.sampled_from(beside))

    def others(boxes: list[Shown], own: str) -> list[Shown]:
        rest = [box for box in boxes if box["object-id"] != own]
        return [new for box in rest if (new := changed(box, edits[int(box["object-id"][1:])])) is not None]

    def awake(shown: Boxes) -> Boxes:
        left = {}
        for name, boxes in shown.items():
            seed = by_name.get(name)
            own = seed.shown.track if seed and seed.shown else "t1" if seed and kind == REMOVED else ""
            kept = others(boxes, own)
            if seed and name in fixed and seed.right:
                kept.append(boxes_with(seed, "right", "drawn" if kind == REMOVED else own))
            elif seed and name not in fixed and seed.shown:
                kept.append(changed(next(box for box in boxes if box["object-id"] == own), unaware) or {})
            left[name] = kept
        return left

    def plain(shown: Boxes) -> Boxes:
        left = {}
        for name, boxes in shown.items():
            seed = by_name.get(name)
            kept = others(boxes, "t1" if seed and seed.right else "")
            if seed and seed.right:
                is_drawn = kind == REMOVED and name in fixed
                own = boxes_with(seed, "right", "drawn" if is_drawn else "t1")
                kept.append(own if name in fixed else changed(own, unaware) or {})
            left[name] = kept
        return left

    wanted, found = review(lines, {}, plain), review(lines, seeds, awake)
    for one, other in zip(wanted.results, found.results, strict=True):
        assert Counter(boxes_of(other)) == Counter(boxes_of(one))
        assert other.unadjusted == one.unadjusted
    # A person sees the frames of a missed seed once more, without seeds.
    verdicts = {result.source_ref: result.seed.caught for result in found.results if result.seed}
    assert verdicts == {source: source.rpartition("/")[2] in fixed for source in seeds}
    missed = [one.source_ref for one in lines if verdicts.get(one.source_ref) is False]
    assert [one.source_ref for one in found.again] == missed
    labels = {result.source_ref: Counter(box[:5] for box in boxes_of(result)) for result in wanted.results}
    assert all(Counter(map(placed_box, one.prelabel_boxes)) == labels[one.source_ref] for one in found.again)


@given(
    st.sampled_from(("left", "fixed after", "fixed before", "fixed late", "split")),
    st.lists(st.sampled_from(("kept", "moved", "deleted")), min_size=3, max_size=3),
    st.booleans(),
)
def test_exchanged_tracks_are_as_without_the_seed(how: str, edits: list[str], joins: bool) -> None:
    lines = crossing()
    drawn = (make_track_seed(lines, "t0", str(lots), KINDS[REMOVED], CLASSES) for lots in range(9))
    found = next(seeds for seeds in drawn if seeds and seeds[0].swap)
    seeds = {seed.source_ref: seed for seed in found}
    (begin, *_) = places = [at for at, one in enumerate(lines) if one.source_ref in seeds]
    assert places == list(range(begin, FRAMES))
    late = begin + 2 if how == "fixed late" else begin
    other = {"t0": "t1", "t1": "t0"}

    def edited(at: int, boxes: list[Shown], ids: Callable[[str, int], str]) -> list[Shown]:
        left = []
        for box in boxes:
            id = ids(box["object-id"], at)
            # The edits are of objects: these have the height of their lane.
            edit = edits[(100, 125, 10).index(box["top"])] if at != begin - 1 else "kept"
            if new := changed(box | {"object-id": f"new-{id}" if joins else id}, edit):
                left.append(new)
        return left

    def awake(id: str, at: int) -> str:
        if (how.startswith("fixed") and how != "fixed before" and at >= late) or (how == "fixed before" and at < begin):
            return other.get(id, id)
        # Only one of the two gets a new track.
        return "t9" if how == "split" and at >= begin and id == "t1" else id

    def plain(id: str, at: int) -> str:
        if how == "fixed before":
            return other.get(id, id)
        return "t9" if how == "split" and at >= begin and id == "t0" else id

    def by(ids: Callable[[str, int], str]) -> Review:
        return lambda shown: {name: edited(at, boxes, ids) for at, (name, boxes) in enumerate(shown.items())}

    wanted, settled = review(lines, {}, by(plain)), review(lines, seeds, by(awake))
    for one, another in zip(wanted.results, settled.results, strict=True):
        assert Counter(boxes_of(another)) == Counter(boxes_of(one))
        assert another.unadjusted == one.unadjusted
    verdicts = [result.seed.caught for result in settled.results if result.seed]
    if edits[:2] == ["deleted", "deleted"]:
        assert all(verdicts)
    elif how == "left":
        assert not any(verdicts)
    elif how == "fixed late":
        assert verdicts == [at >= late for at in places]
    elif how.startswith("fixed"):
        assert all(verdicts)
    assert len(settled.again) == verdicts.count(False)
    assert found[0].kind == SWAPPED


def test_an_object_keeps_one_box_in_a_frame_when_another_took_its_track() -> None:
    lines = crossing()
    drawn = (make_track_seed(lines, "t0", str(lots), KINDS[REMOVED], CLASSES) for lots in range(9))
    found = next(seeds for seeds in drawn if seeds and seeds[0].swap)
    taken = {"t0": "t9", "t2": "t0"}

    def takes(shown: Boxes) -> Boxes:
        return {
            name: [box | {"object-id": taken.get(box["object-id"], box["object-id"])} for box in boxes]
            if at >= FRAMES - len(found)
            else boxes
            for at, (name, boxes) in enumerate(shown.items())
        }

    results = review(lines, {seed.source_ref: seed for seed in found}, takes).results
    assert all(len({box[5] for box in boxes_of(result)}) == 3 for result in results)
    assert all(result.seed.caught for result in results if result.seed)


def test_strips_with_boxes_of_persons_or_in_no_track_have_no_seed() -> None:
    lines = crossing()
    assert [one.id for one in strip_objects(lines)] == ["t0", "t1", "t2"]
    assert {one.level for one in strip_objects(lines)} == {0.05}
    lines[3].prelabel_tracks = UNSET
    assert strip_objects(lines) == []
    assert strip_objects(lines[4 : 4 + STRETCH]) == []


@given(
    strips(),
    st.sampled_from((SHIFTED, OTHER_CLASS, REMOVED)),
    st.text("abc", min_size=1, max_size=3),
    st.integers(0, STRETCH - 1),
)
def test_a_seed_of_boxes_goes_on_in_the_frames_around_it(
    lines: list[ManifestLine], kind: ErrorKind, secret: str, begin: int
) -> None:
    frames = [StretchFrame(one) for one in lines[1 : 1 + STRETCH]]
    first = make_seed(frames[begin].line, 1, 0.0, secret, KINDS[kind], CLASSES)
    assume(first is not None)
    assert first is not None
    seeds = make_stretch(frames, begin, first, 1, secret, CLASSES)
    assert {seed.source_ref for seed in seeds} == {one.line.source_ref for one in frames}
    assert len(seeds) == STRETCH
    assert {seed.kind for seed in seeds} == {kind}
    assert len({seed.stretch for seed in seeds}) == 1
    assert len({(seed.right.track, seed.right.name) for seed in seeds if seed.right}) == 1
    assert len({seed.shown.name if seed.shown else "" for seed in seeds}) == 1
    offsets = [
        tuple(getattr(seed.shown, side) - getattr(seed.right, side) for side in SIDES) for seed in seeds if seed.shown
    ]
    # A film without a jump: whole pixels differ by one.
    assert all(abs(a - b) <= 1 for one in offsets for a, b in zip(one, offsets[0], strict=True))
    # An uncertain box ends the stretch.
    cut = [*frames[: begin + 1], StretchFrame(lines[0]), *frames[begin + 1 :]]
    assert len(make_stretch(cut, begin, first, 1, secret, CLASSES)) == begin + 1
