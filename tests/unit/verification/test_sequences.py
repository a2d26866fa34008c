"""Jobs of tracks: the sequences that reviewers get, and the lines that settling makes of what they leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import CountMismatch
from autolabel.contracts.verification import TRACKS
from autolabel.labels.manifest import (
    BOX_TYPE,
    LabelledBy,
    ManifestLine,
    Origin,
    PrelabelTracks,
    Provenance,
    encode_line,
    raw,
    read_line,
)
from autolabel.labels.reviews import Review as ReviewNotes
from autolabel.verification.ground_truth import read_output
from autolabel.verification.jobs import GROUND_TRUTH, JobRound
from autolabel.verification.sequences import write_sequences
from autolabel.verification.settlement import Result, Settled, settle_round
from tests.fakes.bucket import FakeBucket
from tests.fakes.track_jobs import Boxes, FakeTrackJobs, Job, Review, seq_label

RUN = "labels/drive-7/0001/"
MANIFEST = f"s3://labels/{RUN}manifests/verify-000.manifest"
CLASSES = ("car", "truck", "person")
WIDTH, HEIGHT = 64, 48
Box = tuple[str, int, int, int, int, str]
BOX = st.tuples(
    st.sampled_from(CLASSES),
    st.integers(0, 30),
    st.integers(0, 20),
    st.integers(1, 30),
    st.integers(1, 20),
    st.sampled_from(["", "t1", "t2", "t3"]),
)
FRAME = st.lists(BOX, max_size=4)


def line(camera: str, number: int, boxes: list[Box]) -> ManifestLine:
    """A frame's line of a job's manifest. A box: class, left, top, width, height, id of its track."""
    source = f"s3://ingest/drives/drive-7/{camera}/{1_700_000_000_000_000_000 + number * 100_000_000}.png"
    return ManifestLine(
        source_ref=source,
        review_ref=source,
        prelabel=raw(
            {
                "image_size": [{"width": WIDTH, "height": HEIGHT, "depth": 3}],
                "annotations": [
                    {"class_id": CLASSES.index(name), "left": left, "top": top, "width": width, "height": height}
                    for name, left, top, width, height, _ in boxes
                ],
            }
        ),
        prelabel_metadata=raw(
            {
                "objects": [{"confidence": 0.8} for _ in boxes],
                "class-map": {str(i): name for i, name in enumerate(CLASSES)},
                "type": BOX_TYPE,
                "human-annotated": "no",
                "creation-date": "2026-01-01T00:00:00.000",
                "job-name": "drive-7-0001",
            }
        ),
        prelabel_tracks=PrelabelTracks(tuple(box[5] for box in boxes), (Origin.MODEL,) * len(boxes)),
        provenance=Provenance(camera=camera, timestamp=source[-23:-4], labelled_by=LabelledBy.MODEL),
    )


class Round:
    """A round of a job of tracks, from the lines of its manifest on."""

    def __init__(self, lines: list[ManifestLine], strip_frames: int = 3) -> None:
        self.lines = lines
        self.labels = FakeBucket("labels")
        self.labels.write(MANIFEST.removeprefix("s3://labels/"), b"".join(map(encode_line, lines)))
        self.jobs = FakeTrackJobs(self.labels, CLASSES)
        self.job: Job = self.jobs.create("job", write_sequences(MANIFEST, strip_frames, CLASSES, self.labels).manifest)

    def answer(self, *reviews: Review) -> Round:
        """Answer the first sequences with these reviews, and the others by leaving them as they are."""
        for place in range(len(self.job.sequences)):
            self.jobs.answer("job", place, reviews[place] if place < len(reviews) else lambda shown: shown)
        self.jobs.end("job")
        return self

    def one(self) -> JobRound:
        output = f"s3://labels/{self.job.place}manifests/output/output.manifest"
        return JobRound("job", GROUND_TRUTH, 1, MANIFEST, len(self.lines), output, TRACKS)

    def settle(self) -> tuple[Settled, list[Result]]:
        frames = self.labels.lines(MANIFEST.removeprefix("s3://labels/"))
        output = read_output(self.one(), frames, self.labels)
        settled = settle_round(self.one(), output, label_bucket=self.labels, names=frozenset(CLASSES))
        results = self.labels.lines(settled.results.removeprefix("s3://labels/"))
        return settled, [msgspec.json.decode(body, type=Result) for body in results]

    @property
    def output(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.labels.lines(self.one().output.removeprefix("s3://labels/"))]

    @output.setter
    def output(self, lines: list[Any]) -> None:
        bodies = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in lines]
        self.labels.write(self.one().output.removeprefix("s3://labels/"), b"\n".join(bodies))


def boxes_of(result: Result) -> list[tuple[Any, ...]]:
    """The boxes of a frame's label, with the ids of their tracks."""
    label, metadata = msgspec.json.decode(result.label), msgspec.json.decode(result.metadata)
    return [
        (
            metadata["class-map"][str(box["class_id"])],
            box["left"],
            box["top"],
            box["width"],
            box["height"],
            of["object-id"],
        )
        for box, of in zip(label["annotations"], metadata["objects"], strict=True)
    ]


def drawn(boxes: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The boxes of a SeqLabel's frame."""
    sides = ("left", "top", "width", "height")
    return [(CLASSES[int(box["class-id"])], *(float(box[side]) for side in sides), box["object-id"]) for box in boxes]


def four() -> list[ManifestLine]:
    """Four frames of a camera with a car of one track, and the last with a person in no track."""
    car: Box = ("car", 5, 5, 20, 10, "t1")
    return [line("front", n, [car, ("person", 40, 10, 8, 20, "")] if n == 3 else [car]) for n in range(4)]


@given(st.lists(st.tuples(st.sampled_from(["front", "left"]), FRAME), max_size=14), st.integers(1, 5))
def test_sequences_hold_every_frame_once_in_order_with_its_tracks(frames: list[tuple[str, Any]], strip: int) -> None:
    frames.sort(key=lambda frame: frame[0])
    made = Round([line(camera, n, boxes) for n, (camera, boxes) in enumerate(frames)], strip)
    sequences = made.job.sequences
    assert [s.prefix + name for s in sequences for name in s.names] == [one.source_ref for one in made.lines]
    cameras = [camera for camera, _ in frames]
    assert len(sequences) == sum(-(-cameras.count(camera) // strip) for camera in set(cameras))
    for sequence in sequences:
        assert len(sequence.names) <= strip
        # The worker's page sorts the frames of a sequence so.
        assert sequence.names == sorted(sequence.names, key=str.encode)
        named = [(box["object-id"], box["object-name"]) for boxes in sequence.shown.values() for box in boxes]
        assert len({name for _, name in named}) == len({id for id, _ in named}) == len(set(named))
        for boxes in sequence.shown.values():
            assert len({box["object-id"] for box in boxes}) == len(boxes)
    shown = [boxes for sequence in sequences for boxes in sequence.shown.values()]
    for boxes, (_, given_boxes) in zip(shown, frames, strict=True):
        assert [box[:5] for box in drawn(boxes)] == [tuple(box[:5]) for box in given_boxes]
        ids = [box[5] for box in given_boxes]
        assert all(box["object-id"] == id for box, id in zip(boxes, ids, strict=True) if id and ids.count(id) == 1)


@given(st.lists(FRAME, min_size=1, max_size=12), st.integers(1, 4), st.data())
def test_what_reviewers_leave_comes_out_frame_by_frame(
    frames: list[list[Box]], strip: int, data: st.DataObject
) -> None:
    made = Round([line("front", n, boxes) for n, boxes in enumerate(frames)], strip)
    expected: dict[str, list[tuple[Any, ...]] | str] = {}
    for place, sequence in enumerate(made.job.sequences):
        outcome = data.draw(st.sampled_from(["kept", "changed", "failed", "open"]))
        left: Boxes = {name: [dict(box) for box in boxes] for name, boxes in sequence.shown.items()}
        if outcome == "changed":
            for name in data.draw(st.lists(st.sampled_from(sequence.names), unique=True)):
                kept = data.draw(st.lists(st.sampled_from(left[name]), unique_by=id)) if left[name] else []
                # Moved, renamed and joined to another track; an object has one box in a frame.
                left[name] = [
                    {
                        **box,
                        "left": box["left"] + 1,
                        "object-id": data.draw(st.sampled_from(["t1", "t9", box["object-id"]])),
                    }
                    for box in kept
                ]
                left[name] = list({box["object-id"]: box for box in left[name]}.values())
        answer = {"kept": left, "changed": left, "failed": "too dark", "open": None}[outcome]
        made.jobs.answer("job", place, lambda _, answer=answer: answer)
        shown_ids = {box["object-id"] for boxes in sequence.shown.values() for box in boxes}
        for name in sequence.names:
            why = {"failed": "too dark", "open": "the job left no label"}.get(outcome)
            expected[sequence.prefix + name] = why or [
                (*box[:5], box[5] if box[5] in shown_ids else "another") for box in drawn(left[name])
            ]
    made.jobs.end("job")
    settled, results = made.settle()
    assert [result.source_ref for result in results] == [one.source_ref for one in made.lines]
    found: dict[str, list[tuple[Any, ...]] | str] = {}
    for sequence in made.job.sequences:
        shown_ids = {box["object-id"] for boxes in sequence.shown.values() for box in boxes}
        own = {sequence.prefix + name for name in sequence.names}
        fresh = set()
        for result in (result for result in results if result.source_ref in own):
            if result.failure:
                found[result.source_ref] = result.failure
                continue
            boxes = boxes_of(result)
            fresh |= {box[5] for box in boxes if box[5] not in shown_ids}
            found[result.source_ref] = [(*box[:5], box[5] if box[5] in shown_ids else "another") for box in boxes]
            of_frame = sequence.shown[result.source_ref.removeprefix(sequence.prefix)]
            assert result.unadjusted == (sorted(boxes) == sorted(drawn(of_frame)))
        # A reviewer's own object has one id in all frames.
        assert len(fresh) <= 1 + ("t1" not in shown_ids)
    assert found == expected
    failed = sum(isinstance(one, str) for one in expected.values())
    assert (settled.verified, settled.failed) == (len(frames) - failed, failed)
    assert (settled.foreign, settled.doubled, settled.broken) == (0, 0, 0)
    assert (settled.again.frames if settled.again else 0) == failed + len(contested(made, results))


def contested(made: Round, results: list[Result]) -> set[str]:
    """Find the frames at the border of two strips that give one object different classes."""
    places = {
        sequence.prefix + name: place for place, sequence in enumerate(made.job.sequences) for name in sequence.names
    }
    found = set[str]()
    for one, other in pairwise(result for result in results if not result.failure):
        classes = {(box[5], box[0]) for result in (one, other) for box in boxes_of(result)}
        shared = {box[5] for box in boxes_of(one)} & {box[5] for box in boxes_of(other)}
        if places[one.source_ref] != places[other.source_ref] and any(
            len({name for id, name in classes if id == track}) > 1 for track in shared
        ):
            found |= {one.source_ref, other.source_ref}
    return found


def test_a_frame_that_a_changed_sequence_does_not_list_has_no_boxes() -> None:
    def without_third(shown: Boxes) -> Boxes:
        return {name: [] if at == 2 else boxes for at, (name, boxes) in enumerate(shown.items())}

    _, results = Round(four()).answer(without_third).settle()
    assert [len(boxes_of(result)) for result in results] == [1, 1, 0, 2]
    assert [result.unadjusted for result in results] == [True, True, False, True]


def test_a_frame_that_an_unchanged_sequence_does_not_list_stays_as_shown() -> None:
    made = Round(four(), 4).answer()
    key = next(key for key in made.labels.objects if key.endswith("/0/SeqLabel.json"))
    made.labels.write(key, json.dumps({"tracking-annotations": []}).encode())
    settled, results = made.settle()
    assert [len(boxes_of(result)) for result in results] == [1, 1, 1, 2]
    assert settled.unadjusted == 4


def test_an_object_that_a_reviewer_splits_has_a_new_track_in_all_later_frames() -> None:
    def split(shown: Boxes) -> Boxes:
        return {
            name: [{**box, "object-id": "480dc450-c0ca-11ea"} if at else box for box in boxes]
            for at, (name, boxes) in enumerate(shown.items())
        }

    settled, results = Round(four()).answer(split).settle()
    first, second, third = (boxes_of(result)[0][5] for result in results[:3])
    assert first == "t1"
    assert second == third != first
    assert "480dc450" not in second
    assert settled.unadjusted == 2


def test_lines_that_are_not_the_jobs_are_counted_and_cost_no_frame() -> None:
    made = Round(four()).answer()
    first, second = made.output
    foreign = {**first, "source-ref": f"s3://labels/{RUN}manifests/verify-001.sequences/01.json"}
    # A line of a frame does not belong to this job.
    frame = {"source-ref": made.lines[0].source_ref, "verified": {"image_size": [], "annotations": []}}
    made.output = [b"garbage", foreign, frame, first, second, second, b"[]", b'{"source-ref": "%s"}' % (b"x" * 200_000)]
    settled, _ = made.settle()
    assert (settled.verified, settled.foreign, settled.doubled, settled.broken) == (4, 2, 1, 3)


def test_frames_of_a_label_that_are_not_the_sequences_are_counted() -> None:
    made = Round(four()).answer()
    key = next(key for key in made.labels.objects if key.endswith("/0/SeqLabel.json"))
    entries = json.loads(made.labels.objects[key])["tracking-annotations"]
    # The fourth frame is in the second sequence, which must not lose it.
    other = {**entries[0], "frame": made.lines[3].source_ref.rpartition("/")[2]}
    made.labels.write(key, json.dumps({"tracking-annotations": [other, 5, {}, *entries, entries[0]]}).encode())
    settled, _ = made.settle()
    assert (settled.verified, settled.foreign, settled.doubled, settled.broken) == (4, 1, 1, 2)


def responded(made: Round, place: int, answer: dict[str, Any]) -> None:
    """Write the response of a sequence's worker, as Ground Truth does."""
    key = f"{made.job.place}annotations/worker-response/iteration-1/{place}/2026-01-02_00:00:09.json"
    made.labels.write(key, json.dumps({"answers": [answer]}).encode())


@given(st.floats(0, 30_000), st.integers(0, 5_000), st.integers(0, 50))
def test_the_frames_of_a_strip_share_what_its_reviewer_did(seconds: float, keys: int, edits: int) -> None:
    made = Round(four())
    noted = {"seconds": seconds, "keys": keys, "edits": {"place": {"count": edits, "seconds": seconds}}}
    content = {"tracking-annotations": [], "review": json.dumps({**noted, "accepted": 3})}
    responded(made, 0, {"workerId": "ann", "timeSpentInSeconds": 9.0, "answerContent": content})
    # Ground Truth's own page notes nothing, and its answers are not documented.
    responded(made, 1, {"workerId": "bob", "timeSpentInSeconds": 9.0, "answerContent": {"frames": [1]}})
    _, results = made.answer().settle()
    reviews = [result.review for result in results if isinstance(result.review, ReviewNotes)]
    assert [(one.worker, one.strip) for one in reviews] == [("ann", 3)] * 3 + [("bob", 1)]
    assert reviews[3].seconds == 9.0
    shares = [one.seconds or 0.0 for one in reviews[:3]]
    assert (sum(shares), max(shares) - min(shares)) == (pytest.approx(seconds, abs=0.001), pytest.approx(0, abs=0.0021))
    assert sum(one.keys or 0 for one in reviews[:3]) == keys
    assert sum(one.edits["place"].count for one in reviews[:3]) == edits


def test_a_strip_that_its_reviewer_is_unsure_of_comes_again_whole() -> None:
    made = Round(four()).answer()
    content = {"review": json.dumps({"unsure": True, "comment": "two cars?"})}
    responded(made, 0, {"workerId": "ann", "timeSpentInSeconds": 9.0, "answerContent": content})
    settled, _ = made.settle()
    assert (settled.unsure, settled.again.frames if settled.again else 0) == (3, 3)


def holding(body: bytes) -> Callable[[Round], object]:
    """Replace the SeqLabel of the first sequence."""
    return lambda made: made.labels.write(next(k for k in made.labels.objects if k.endswith("/0/SeqLabel.json")), body)


def referred(uri: Any) -> Callable[[Round], object]:
    def change(made: Round) -> None:
        first, *rest = made.output
        if isinstance(uri, str):
            made.labels.write(uri.removeprefix("s3://labels/"), json.dumps(seq_label({}, [])).encode())
        made.output = [{**first, "verified-tracks-ref": uri}, *rest]

    return change


def told(**metadata: Any) -> Callable[[Round], object]:
    def change(made: Round) -> None:
        first, *rest = made.output
        known = {**first["verified-tracks-ref-metadata"], **{name.replace("_", "-"): v for name, v in metadata.items()}}
        made.output = [{**first, "verified-tracks-ref-metadata": known}, *rest]

    return change


def boxed(**box: Any) -> Callable[[Round], object]:
    """Change the boxes of all frames of the first sequence."""

    def change(made: Round) -> None:
        key = next(key for key in made.labels.objects if key.endswith("/0/SeqLabel.json"))
        document = json.loads(made.labels.objects[key])
        for frame in document["tracking-annotations"]:
            frame["annotations"] = [
                {**one, **{k.replace("_", "-"): v for k, v in box.items()}} for one in frame["annotations"]
            ]
        made.labels.write(key, json.dumps(document).encode())

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (holding(b"<html>"), "the tracks of the sequence cannot be read: "),
        (holding(b'{"tracking-annotations":' + b"[" * 9_999), "the tracks of the sequence cannot be read: "),
        (holding(b'{"tracking-annotations":{}}'), "the tracks of the sequence cannot be read: "),
        (holding(b" " * 300_000), "it has more than 256,000 bytes"),
        (referred("s3://elsewhere/x.json"), "the tracks are not a JSON document below s3://labels/"),
        (referred(f"s3://labels/{RUN}verification/../manifests/x.json"), "the tracks are not a JSON document below"),
        (
            referred("s3://labels/labels/drive-7/0002/verification/job/x.json"),
            "the tracks are not a JSON document below",
        ),
        (referred(f"s3://labels/{RUN}verification/{'a' * 900}.json"), "the tracks are not a JSON document below"),
        (lambda made: made.labels.objects.pop(next(k for k in made.labels.objects if "/0/Seq" in k)), "it is gone"),
        (referred(None), "cannot be read: "),
        (told(class_map={"0": 5}), "cannot be read: "),
        (told(class_map={}), "class 0 has no name in the class map"),
        (told(class_map={"0": "zebra"}), "class 'zebra' is not a class of the job"),
        (told(failure_reason="too dark"), "too dark"),
        (boxed(left=60), "box 1 (car) is not inside the frame of 64 x 48"),
        (boxed(left="far"), "the boxes cannot be read: "),
        (boxed(top=1e308), "is not inside the frame"),
        (boxed(class_id="x"), "the boxes cannot be read: "),
        (boxed(object_id=5), "the boxes cannot be read: "),
    ],
)
def test_an_impossible_sequence_fails_all_its_frames_and_no_other(change: Callable[[Round], object], said: str) -> None:
    made = Round(four()).answer()
    change(made)
    settled, results = made.settle()
    assert (settled.verified, settled.failed) == (1, 3)
    assert all(said in result.failure for result in results[:3])
    # The second round gets them as a sequence again.
    assert settled.again is not None
    key = write_sequences(settled.again.manifest, 3, CLASSES, made.labels).manifest.removeprefix("s3://labels/")
    assert len(list(made.labels.lines(key))) == 1


def test_two_boxes_of_one_object_in_a_frame_do_not_share_its_track() -> None:
    _, results = Round(four()).answer(lambda shown: {name: boxes * 2 for name, boxes in shown.items()}).settle()
    ids = [box[5] for box in boxes_of(results[0])]
    assert ids[0] == "t1"
    assert len(set(ids)) == 2


def test_sequences_stay_as_they_were_first_cut() -> None:
    made = Round(four(), 3)
    before = dict(made.labels.objects)
    assert write_sequences(MANIFEST, 2, CLASSES, made.labels).manifest == made.job.manifest
    assert made.labels.objects == before


def test_frames_out_of_the_order_of_their_names_are_refused() -> None:
    with pytest.raises(CountMismatch, match="sorts frames by name"):
        Round(list(reversed(four())))


def test_a_sequence_file_has_the_documented_shape() -> None:
    made = Round(four())
    sequence = made.job.sequences[0]
    key = sequence.line["source-ref"].removeprefix("s3://labels/")
    assert json.loads(made.labels.objects[key]) == {
        "seq-no": 1,
        "prefix": "s3://ingest/drives/drive-7/front/",
        "number-of-frames": 3,
        "frames": [
            {"frame-no": 1, "frame": "1700000000000000000.png", "unix-timestamp": 1_700_000_000},
            {"frame-no": 2, "frame": "1700000000100000000.png", "unix-timestamp": 1_700_000_000},
            {"frame-no": 3, "frame": "1700000000200000000.png", "unix-timestamp": 1_700_000_000},
        ],
    }
    assert sequence.shown["1700000000000000000.png"] == [
        {
            "class-id": "0",
            "left": 5,
            "top": 5,
            "width": 20,
            "height": 10,
            "object-id": "t1",
            "object-name": "car:1",
            "label-category-attributes": {},
        }
    ]
    assert sequence.line.keys() == {"source-ref", "prelabel-ref", "prelabel-ref-metadata"}
    assert sequence.line["prelabel-ref-metadata"] == {
        "class-map": {"0": "car"},
        "type": "groundtruth/video-object-tracking",
        "human-annotated": "no",
        "creation-date": "2026-01-01T00:00:00.000",
        "job-name": "drive-7-0001",
    }


def test_a_reviewers_earlier_tracks_and_what_contradicts_them_are_shown() -> None:
    one = four()[0]
    body = json.loads(encode_line(one))
    body["prelabel-metadata"]["objects"] = [{"confidence": 0.0, "object-id": "mine"}]
    new = {"label": "truck", "left": 1, "top": 2, "width": 3, "height": 4, "confidence": 0.9, "new": True}
    body["doubt"] = {"level": 1.0, "boxes": [0.346], "why": [], "ghosts": [new, {**new, "new": False}]}
    made = Round([read_line(json.dumps(body).encode())])
    # The page does not show what is below the threshold, but may look there for an object that a reviewer draws.
    hint = made.labels.objects[made.job.sequences[0].line["candidates-ref"].removeprefix("s3://labels/")]
    assert drawn(json.loads(hint)["tracking-annotations"][0]["annotations"])[0][:5] == ("truck", 1, 2, 3, 4)
    (boxes,) = made.job.sequences[0].shown.values()
    assert [(box["object-name"], box["object-id"] == "mine") for box in boxes] == [("car:1", True), ("truck:1", False)]
    # What the models did not see in a track has no uncertainty.
    assert [box["label-category-attributes"] for box in boxes] == [{"uncertainty": "0.35"}, {}]
