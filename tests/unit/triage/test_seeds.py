"""Seeds: a line hides them well, they can be undone exactly, and settling takes them out of what reviewers leave."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import UNSET

from autolabel.contracts.run_folder import RunFolder
from autolabel.labelling.uncertainty import frame_level
from autolabel.labels.agreement import corners
from autolabel.labels.detections import box_iou
from autolabel.labels.manifest import LabelledBox, ManifestLine, Origin, PrelabelTracks, read_line
from autolabel.labels.reviews import Effort, Marks, Review
from autolabel.triage.corrections import DEFAULTS, INVENTED, OTHER_CLASS, REMOVED, SHIFTED, Correction, ErrorKind
from autolabel.triage.seed_verdicts import judge_label
from autolabel.triage.seeds import MOST_UNCERTAIN, Seed, draw_boxes, make_seed, placed_box, sow, unsow
from autolabel.verification.jobs import GROUND_TRUTH, JobRound
from autolabel.verification.settlement import Result, Settled, read_results, settle_round
from tests.fakes.bucket import FakeBucket
from tests.fakes.lines import LABELS, SIZE, line

FOLDER = RunFolder("d", "0001")
MADE = (
    *DEFAULTS,
    Correction(INVENTED, "person", place=(0.4, 0.3, 0.05, 0.2)),
    Correction(OTHER_CLASS, "car", "person"),
)
KINDS = {kind: [one for one in MADE if one.kind == kind] for kind in (SHIFTED, OTHER_CLASS, INVENTED, REMOVED)}


@st.composite
def frames(draw: st.DrawFn) -> ManifestLine:
    """A frame's line with the uncertainty, and with or without tracks."""
    sides = st.tuples(st.integers(0, 500), st.integers(0, 200), st.integers(8, 130), st.integers(8, 70))
    boxes = draw(st.lists(st.tuples(st.sampled_from(LABELS), sides), min_size=1, max_size=6))
    placed = [(name, x, y, x + w, y + h) for name, (x, y, w, h) in boxes]
    ghosts: list[dict[str, Any]] = [
        {"label": name, "left": x, "top": y, "width": w, "height": h, "confidence": 0.2}
        for name, (x, y, w, h) in draw(st.lists(st.tuples(st.sampled_from(LABELS), sides), max_size=3))
    ]
    # Some candidates are on the objects.
    ghosts += [
        {"label": LABELS[-1], "left": x, "top": y, "width": w, "height": h, "confidence": 0.1}
        for _, (x, y, w, h) in draw(st.lists(st.sampled_from(boxes), max_size=2))
    ]
    levels = [0.1, *draw(st.lists(st.sampled_from((0.05, 0.4)), min_size=len(boxes) - 1, max_size=len(boxes) - 1))]
    level = frame_level(levels, [one["confidence"] for one in ghosts])
    made = read_line(line(7, placed, doubt={"level": level, "boxes": levels, "why": [], "ghosts": ghosts}))
    if draw(st.booleans()):
        ids = tuple(f"{i:012x}" for i in range(len(boxes)))
        made.prelabel_tracks = PrelabelTracks(ids, (Origin.MODEL,) * len(boxes))
    return made


@st.composite
def seeded(draw: st.DrawFn) -> tuple[ManifestLine, Seed]:
    frame, kind = draw(frames()), draw(st.sampled_from(tuple(KINDS)))
    seed = make_seed(frame, 0, 0.0, draw(st.text("abc", min_size=1, max_size=3)), KINDS[kind], LABELS)
    assume(seed is not None)
    assert seed is not None
    return frame, seed


@given(seeded())
def test_a_seed_can_be_undone_exactly(made: tuple[ManifestLine, Seed]) -> None:
    frame, seed = made
    back, was = (json.loads(msgspec.json.encode(one)) for one in (unsow(sow(frame, seed), seed), frame))
    assert back == was
    assert list(back) == list(was)


@given(seeded())
def test_nothing_but_the_picture_tells_a_seed(made: tuple[ManifestLine, Seed]) -> None:
    frame, seed = made
    shown = sow(frame, seed)
    boxes, doubt, tracks = shown.prelabel_boxes, shown.uncertainty, shown.prelabel_tracks
    assert doubt is not UNSET
    assert len(doubt.boxes) == len(boxes)
    assert doubt.level == frame_level(doubt.boxes, [one.confidence for one in doubt.candidates])
    names = msgspec.json.decode(shown.prelabel_metadata or b"{}")["class-map"]
    assert names == {str(i): name for i, name in enumerate(LABELS) if name in {box.name for box in boxes}}
    if tracks is not UNSET:
        assert len(tracks.ids) == len(tracks.origins) == len(boxes)
        assert len(set(tracks.ids)) == len(boxes)
        assert {len(one) for one in tracks.ids} <= {12}
    if seed.shown:
        assert all(side >= 0 for side in seed.shown.placed[1:])
        assert seed.shown.left + seed.shown.width <= SIZE[0]
        assert seed.shown.top + seed.shown.height <= SIZE[1]
        # A box is at least as uncertain as its confidence says, and seeds are among the certain ones.
        assert round(1 - seed.shown.confidence, 2) <= max(seed.shown.level, round(1 - boxes[0].confidence, 2))
    if seed.right:
        hidden = corners(seed.right.labelled)
        ghosts = [(c.left, c.top, c.left + c.width, c.top + c.height) for c in doubt.candidates]
        assert all(box_iou(hidden, ghost) < 0.3 for ghost in ghosts)
    confidences = [box.confidence for box in boxes]
    assert confidences == sorted(confidences, reverse=True)


@st.composite
def reviewed(draw: st.DrawFn) -> tuple[ManifestLine, Seed, list[LabelledBox]]:
    """A frame, its seed, and the boxes that a reviewer leaves beside the seeded one: kept, changed and drawn."""
    frame, seed = draw(seeded())
    left = []
    for index, box in enumerate(frame.prelabel_boxes):
        if seed.right is None or index != seed.at:
            moved = LabelledBox(box.name, box.left + 1, box.top, box.width, box.height, 0.0)
            renamed = LabelledBox(LABELS[0], box.left, box.top, box.width, box.height, 0.0)
            left += draw(st.sampled_from(([], [box], [box], [moved], [renamed])))
    sides = st.tuples(st.integers(0, 500), st.integers(0, 200), st.integers(8, 130), st.integers(8, 70))
    drawn = [LabelledBox(LABELS[1], *place, 0.0) for place in draw(st.lists(sides, max_size=2))]
    own = [corners(box.labelled) for box in (seed.right, seed.shown) if box]
    # What is drawn over the seed is another test.
    left += [box for box in drawn if all(box_iou(corners(box), place) < 0.3 for place in own)]
    return frame, seed, left


def settle(
    frame: ManifestLine, boxes: list[LabelledBox], seed: Seed | None, review: Review
) -> tuple[Settled, Result, Any]:
    """Settle the first round of a job of one frame; also returns the line of the second round, if there is one."""
    bucket = FakeBucket("labels")
    if seed:
        bucket.write(FOLDER.acceptance_criteria, b'{"max_objects": 1, "seeds": "x"}')
        bucket.write(FOLDER.seeds("x"), msgspec.json.encode(seed))
    shown = sow(frame, seed) if seed else frame
    manifest = FOLDER.job_manifest(0)
    bucket.write(manifest, msgspec.json.encode(shown) + b"\n")
    same = Counter(map(placed_box, boxes)) == Counter(map(placed_box, shown.prelabel_boxes))
    names = list(dict.fromkeys(box.name for box in boxes))
    output = {
        **json.loads(msgspec.json.encode(shown)),
        "verified": {
            "image_size": [{"width": SIZE[0], "height": SIZE[1], "depth": 3}],
            "annotations": [
                {
                    "class_id": names.index(box.name),
                    **{side: getattr(box, side) for side in ("left", "top", "width", "height")},
                }
                for box in boxes
            ],
        },
        "verified-metadata": {
            "objects": [{"confidence": 0.0} for _ in boxes],
            "class-map": {str(i): name for i, name in enumerate(names)},
            "human-annotated": "yes",
            "adjustment-status": "unadjusted" if same else "adjusted",
        },
        "review": json.loads(msgspec.json.encode(review)),
    }
    one = JobRound("job", GROUND_TRUTH, 1, bucket.uri(manifest), 1, "s3://labels/output")
    settled = settle_round(one, [json.dumps(output).encode()], label_bucket=bucket, names=frozenset(LABELS))
    (result,) = read_results(bucket, settled.results)
    again = next(bucket.lines(FOLDER.manifests + "verify-000-again.manifest"), b"") if settled.again else None
    return settled, result, again


def label_of(result: Result, frame: ManifestLine) -> Counter[tuple[str, float, float, float, float]]:
    left = msgspec.structs.replace(frame, verified=result.label, verified_metadata=result.metadata)
    return Counter(map(placed_box, left.verified_boxes))


def marks(boxes: list[LabelledBox]) -> Review:
    """A review that marks boxes by their class, so that a mark that slips to another box is noticed."""
    marked = tuple(Marks(occluded=box.name == LABELS[0], truncated=box.name == LABELS[1]) for box in boxes)
    return Review("ann", 9.0, 12, 3, {"move": Effort(1, 2.0)}, boxes=marked)


@given(reviewed(), st.booleans())
def test_a_label_is_as_without_the_seed(made: tuple[ManifestLine, Seed, list[LabelledBox]], fixes: bool) -> None:
    frame, seed, rest = made
    right = [seed.right.labelled] if seed.right else []
    false = [seed.shown.labelled] if seed.shown else []
    plain = [*rest, *right]
    left = plain if fixes else [*false, *rest]
    _, wanted, _ = settle(frame, plain, None, marks(plain))
    settled, found, again = settle(frame, left, seed, marks(left))
    assert label_of(found, frame) == label_of(wanted, frame)
    assert found.unadjusted == wanted.unadjusted
    assert found.seed is not None
    assert (found.seed.caught, found.seed.worker, found.seed.counts) == (fixes, "ann", True)
    # A missed seed gives the frame a second round, which has no seed.
    assert (settled.again is None) == fixes
    if again:
        second = read_line(again)
        assert Counter(map(placed_box, second.prelabel_boxes)) == label_of(wanted, frame)
        assert msgspec.json.encode(seed.kind) not in again
    # Marks stay with their boxes, and the effort of the seed is left out.
    assert isinstance(found.review, Review)
    assert (found.review.seconds, found.review.edits, found.review.worker) == (None, {}, "ann")
    boxes = msgspec.structs.replace(frame, verified=found.label, verified_metadata=found.metadata).verified_boxes
    slipped = [
        (mark, box.name)
        for mark, box in zip(found.review.boxes, boxes, strict=False)
        if mark != Marks() and mark != Marks(occluded=box.name == LABELS[0], truncated=box.name == LABELS[1])
    ]
    assert slipped == []


@given(seeded(), st.integers(-1, 1))
def test_a_redrawn_box_stands(made: tuple[ManifestLine, Seed], off: int) -> None:
    frame, seed = made
    assume(seed.right is not None)
    assert seed.right is not None
    others = [box for index, box in enumerate(frame.prelabel_boxes) if index != seed.at]
    own = LabelledBox(seed.right.name, *seed.right.placed[1:], 0.0)
    redrawn = msgspec.structs.replace(own, left=own.left + off, width=own.width + 1)
    # The seed may still be there.
    false = [seed.shown.labelled] if seed.shown else []
    for beside in ([], false):
        settled, found, _ = settle(frame, [*others, *beside, redrawn], seed, Review())
        assert label_of(found, frame) == Counter(map(placed_box, [*others, redrawn]))
        assert found.seed is not None
        assert found.seed.caught
        assert settled.again is None


def test_an_invention_that_became_an_object_stands() -> None:
    frame = with_doubt([("car", 100, 100, 160, 140), ("car", 300, 100, 360, 140)])
    seed = make_seed(frame, 0, 0.0, "a", KINDS[INVENTED][:1], LABELS)
    assert seed
    assert seed.shown
    shown = seed.shown.labelled
    object_ = msgspec.structs.replace(shown, name="person", left=shown.left + 3)
    settled, found, _ = settle(frame, [*frame.prelabel_boxes, object_], seed, Review())
    assert label_of(found, frame)[placed_box(object_)] == 1
    assert found.seed
    assert found.seed.caught
    assert settled.again is None


def test_an_unsure_person_and_a_script_decide_nothing() -> None:
    frame = with_doubt([("car", 100, 100, 160, 140)])
    seed = make_seed(frame, 0, 0.0, "a", KINDS[REMOVED], LABELS)
    assert seed
    settled, found, _ = settle(frame, [], seed, Review("ann", unsure=True))
    assert found.seed
    assert (found.seed.caught, found.seed.counts) == (False, False)
    assert settled.again


@given(
    st.dictionaries(st.sampled_from(("", "x", "0", "2", "01", "٣")), st.sampled_from((*LABELS, "bus")))
    | st.just(dict[str, str]())
)
def test_a_label_with_an_odd_class_map_gets_its_box_back(odd: dict[str, str]) -> None:
    frame = with_doubt([("car", 100, 100, 160, 140)])
    seed = make_seed(frame, 0, 0.0, "a", KINDS[REMOVED], LABELS)
    assert seed
    label = msgspec.Raw(b'{"image_size": [{"width": 640, "height": 272}], "annotations": []}')
    # Without boxes, a back-end may leave everything out.
    metadata = msgspec.Raw(msgspec.json.encode({"class-map": odd} if odd else {}))
    judged = judge_label(seed, frame, label, metadata, UNSET)
    assert not judged.verdict.caught
    back = msgspec.structs.replace(frame, verified=judged.label, verified_metadata=judged.metadata)
    assert list(map(placed_box, back.verified_boxes)) == list(map(placed_box, frame.prelabel_boxes))


def with_doubt(boxes: list[tuple[str, float, float, float, float]]) -> ManifestLine:
    levels = [0.1] * len(boxes)
    return read_line(line(7, boxes, doubt={"level": frame_level(levels, []), "boxes": levels, "why": [], "ghosts": []}))


Levels = st.lists(st.floats(0, 1), max_size=4)


@given(st.lists(st.tuples(st.sampled_from("ab"), Levels), max_size=60), st.sampled_from((0.01, 0.2)), st.integers(1, 9))
def test_seeds_are_few_certain_and_apart(frames: list[tuple[str, list[float]]], share: float, strip: int) -> None:
    given_frames = [(camera, at, levels) for at, (camera, levels) in enumerate(frames)]
    drawn = draw_boxes("d/0001/etag", given_frames, share, strip)
    boxes = sum(len(levels) for _, levels in frames)
    assert len(drawn) <= max(1, round(share * boxes))
    assert len({(one.camera, one.position // strip) for one in drawn}) == len(drawn)
    assert all(frames[one.position][1][one.at] < MOST_UNCERTAIN for one in drawn)
    # A certain box is enough for one seed.
    assert bool(drawn) == any(level < MOST_UNCERTAIN for _, levels in frames for level in levels)
    assert drawn == draw_boxes("d/0001/etag", given_frames, share, strip)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_error_can_be_seeded(kind: ErrorKind) -> None:
    frame = with_doubt([("car", 100, 100, 160, 140), ("person", 300, 100, 340, 190)])
    seeds = [make_seed(frame, 0, 0.0, str(lots), KINDS[kind], LABELS) for lots in range(20)]
    assert {seed.kind for seed in seeds if seed} == {kind}


def test_only_certain_boxes_of_models_are_seeded() -> None:
    frame = with_doubt([("car", 100, 100, 160, 140)])
    frame.prelabel_tracks = PrelabelTracks(("a",), (Origin.INTERPOLATED,))
    assert make_seed(frame, 0, 0.0, "a", DEFAULTS, LABELS) is None
    frame.prelabel_tracks = frame.uncertainty = UNSET
    assert make_seed(frame, 0, 0.0, "a", DEFAULTS, LABELS) is None
