"""A shard's answers become manifest lines, and any fault of a frame becomes an issue."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from autolabel.contracts.drive import Camera, DriveDocument, Run
from autolabel.contracts.frames import SOURCE, encode_source
from autolabel.contracts.recipe import FUSION
from autolabel.contracts.run_folder import RunFolder
from autolabel.labelling.label_shard import ShardLabelling
from autolabel.labelling.shards import Shard, ShardFrame, ShardResult, UnitAnswer
from autolabel.streams.ordered_map import map_in_order
from tests.fakes.answers import CAR, DETECTOR, answer
from tests.fakes.bucket import FakeBucket, etag_of
from tests.fakes.images import encoded, jpeg, multi_picture_jpeg, png, png_header
from tests.fakes.pipeline import JOB_LABELS, frame_key

CREATED = "2026-01-01T00:00:00.000"


class Bench:
    """Two buckets and a run of one camera."""

    def __init__(self, camera: Camera | None = None, labels: tuple[str, ...] = JOB_LABELS) -> None:
        self.ingest, self.labels = FakeBucket("ingest"), FakeBucket("labels")
        self.model = DETECTOR
        self.run = Run(
            drive="drive-7",
            run="0001",
            document=DriveDocument("car", {"front": camera or Camera()}),
            document_etag="e",
            models=(DETECTOR.id,),
            taxonomy="2026.1",
            labels=labels,
        )
        self.frames: list[ShardFrame] = []

    def add(self, body: bytes | None = None, found: bytes | None = None, *, failure: str = "") -> str:
        """Add a frame with its answer; return its key."""
        key = frame_key(len(self.frames))
        frame = png(200, 100) if body is None else body
        self.ingest.write(key, frame)
        place = f"inference/{len(self.frames)}.out"
        if not failure:
            self.labels.write(place, answer() if found is None else found)
        given = UnitAnswer(DETECTOR.id, failure=failure) if failure else UnitAnswer(DETECTOR.id, key=place)
        self.frames.append(ShardFrame(key, etag_of(frame), (given,)))
        return key

    def label(self) -> ShardResult:
        shard = Shard(0, "front", len(self.frames), RunFolder("drive-7", "0001").shard(0, "frames.jsonl"))
        self.labels.write(shard.key, b"".join(msgspec.json.encode(frame) + b"\n" for frame in self.frames))
        labelling = ShardLabelling(
            self.run, [self.model], ingest=self.ingest, label_bucket=self.labels, created=CREATED
        )
        result = labelling.label(shard)
        assert msgspec.json.decode(self.part("result.json"), type=ShardResult) == result
        assert result.manifest_bytes == len(self.part("manifest.jsonl"))
        assert result.tally.frames == len(self.frames)
        return result

    def part(self, name: str) -> bytes:
        return self.labels.objects[RunFolder("drive-7", "0001").shard(0, name)]

    def part_lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.part(name).splitlines()]

    @property
    def manifest(self) -> list[dict[str, Any]]:
        return self.part_lines("manifest.jsonl")

    @property
    def issues(self) -> list[tuple[str, str]]:
        return [(issue["outcome"], issue["frame"]["reason"]) for issue in self.part_lines("issues.jsonl")]


def boxes(line: dict[str, Any]) -> list[tuple[str, int, int, int, int]]:
    names = line["prelabel-metadata"]["class-map"]
    return [
        (names[str(a["class_id"])], a["left"], a["top"], a["width"], a["height"])
        for a in line["prelabel"]["annotations"]
    ]


def test_an_empty_shard_leaves_empty_parts() -> None:
    bench = Bench()
    result = bench.label()
    assert (result.tally.frames, result.manifest_bytes) == (0, 0)
    assert (bench.part("manifest.jsonl"), bench.part("detections.jsonl"), bench.part("issues.jsonl")) == (b"", b"", b"")


def test_a_frame_becomes_a_line_with_its_boxes_and_their_origin() -> None:
    bench = Bench()
    key = bench.add()
    tally = bench.label().tally
    (line,) = bench.manifest
    assert line["source-ref"] == f"s3://ingest/{key}"
    assert boxes(line) == [("car", 50, 25, 50, 50)]
    assert line["prelabel-metadata"]["creation-date"] == CREATED
    assert line["provenance"] == {
        "drive": "drive-7",
        "run": "0001",
        "camera": "front",
        "timestamp": "1700000000000000000",
        "etag": bench.frames[0].etag,
        "models": ["detector.0001"],
        "taxonomy": "2026.1",
        "fusion": FUSION,
        "labelled-by": "model",
    }
    assert (tally.labelled, tally.boxes, dict(tally.classes)) == (1, 1, {"car": 1})
    assert bench.issues == []


def test_a_frame_without_detections_is_labelled() -> None:
    bench = Bench()
    bench.add(found=answer(boxes=[]))
    assert bench.label().tally.labelled == 1
    assert boxes(bench.manifest[0]) == []
    assert bench.manifest[0]["provenance"]["labelled-by"] == "model"


def test_lines_are_in_the_order_of_the_frames() -> None:
    bench = Bench()
    keys = [bench.add() for _ in range(40)]
    bench.label()
    assert [line["source-ref"] for line in bench.manifest] == [f"s3://ingest/{key}" for key in keys]


def test_a_repeated_call_writes_the_same() -> None:
    bench = Bench()
    for found in (None, b"garbage", answer(scores=[0.01])):
        bench.add(found=found)
    bench.label()
    first = dict(bench.labels.objects)
    bench.label()
    assert bench.labels.objects == first


def test_the_result_is_written_last() -> None:
    bench = Bench()
    bench.add()
    bench.label()
    assert bench.labels.writes[-1].endswith("result.json")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not-an-image"),
        (b"no picture", "not-an-image"),
        (encoded("GIF"), "not-an-image"),
        (png_header(20_000, 20_000), "too-many-pixels"),
        (png_header(60_000, 60_000), "too-many-pixels"),
        (jpeg(orientation=6), "rotated"),
        (png(orientation=3), "rotated"),
    ],
    ids=["empty", "text", "gif", "400 megapixels", "bomb", "rotated jpeg", "rotated png"],
)
def test_an_unusable_image_is_rejected_and_the_others_are_labelled(body: bytes, reason: str) -> None:
    bench = Bench()
    bench.add()
    bad = bench.add(body)
    bench.add()
    tally = bench.label().tally
    assert (tally.labelled, tally.failed, tally.rejected) == (2, 0, 1)
    assert tally.reasons == {"rejected": {reason: 1}}
    assert len(bench.manifest) == 2
    assert bench.issues == [("rejected", reason)]
    assert bad in bench.part_lines("issues.jsonl")[0]["frame"]["detail"]


@pytest.mark.parametrize("change", ["overwritten", "gone"])
def test_a_frame_that_changed_after_the_listing_is_rejected(change: str) -> None:
    bench = Bench()
    key = bench.add()
    if change == "gone":
        del bench.ingest.objects[key]
    else:
        bench.ingest.write(key, png(10, 10))
    assert bench.label().tally.rejected == 1
    assert bench.issues == [("rejected", "frame-changed")]
    assert bench.manifest == []


def test_a_jpeg_with_a_second_picture_in_it_is_labelled() -> None:
    bench = Bench()
    bench.add(multi_picture_jpeg())
    assert bench.label().tally.labelled == 1


CUT = jpeg(200, 100, comment=b"c" * 100)[:-40]


@pytest.mark.parametrize("body", [CUT, CUT + bytes(500), png(200, 100)[:-20]], ids=["cut", "zeros", "cut png"])
def test_a_broken_frame_that_the_model_failed_is_rejected(body: bytes) -> None:
    bench = Bench()
    bench.add()
    bad = bench.add(body, failure="500")
    bench.add(failure="500")
    tally = bench.label().tally
    assert (tally.labelled, tally.failed, tally.rejected) == (1, 1, 1)
    assert tally.reasons == {"rejected": {"image-truncated": 1}, "failed": {"inference-failed": 1}}
    assert tally.models[DETECTOR.id].failed == 1
    assert bad in bench.part_lines("issues.jsonl")[0]["frame"]["detail"]


def test_a_broken_frame_that_the_model_answered_is_labelled() -> None:
    bench = Bench()
    bench.add(CUT)
    assert bench.label().tally.labelled == 1


def test_a_frame_with_an_answer_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, reads = Bench(), list[tuple[Any, ...]]()
    for body in (png(200, 100), jpeg(200, 100)):
        bench.add(body)
    read = bench.ingest.read_range
    monkeypatch.setattr(bench.ingest, "read_range", lambda *what: (reads.append(what), read(*what))[1])
    bench.label()
    assert sorted(what[1:3] for what in reads) == [(0, 16_384)] * 2


def test_the_name_of_the_source_file_follows_a_frame_without_further_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, reads = Bench(), list[str]()
    keys = {
        "labelled": bench.add(),
        "failed": bench.add(failure="500"),
        "too long": bench.add(found=answer(boxes=[(0.0, 0.0, 9.0, 9.0)] * 1_000)),
        "rotated": bench.add(jpeg(orientation=6)),
        "broken": bench.add(CUT, failure="500"),
    }
    for name, key in keys.items():
        bench.ingest.metadata[key] = {SOURCE: encode_source(f"{name}.png")}
    unnamed = [bench.add(), bench.add(b"no picture")]
    read = bench.ingest.read_range
    monkeypatch.setattr(bench.ingest, "read_range", lambda *what: (reads.append(what[0]), read(*what))[1])
    bench.label()
    found = {line["source-ref"]: line["provenance"].get("source") for line in bench.manifest}
    found |= {line["frame"]["key"]: line["frame"].get("source") for line in bench.part_lines("issues.jsonl")}
    expected = {key: f"{name}.png" for name, key in keys.items()} | dict.fromkeys(unnamed)
    assert {key.removeprefix("s3://ingest/"): source for key, source in found.items()} == expected
    # A failed frame is checked whole before its header is read.
    assert sorted(reads) == sorted([*keys.values(), *unnamed, keys["failed"]])


def test_a_failed_frame_goes_to_reviewers_without_boxes() -> None:
    bench = Bench()
    bench.add(failure="out of memory")
    tally = bench.label().tally
    assert (tally.labelled, tally.failed) == (0, 1)
    (line,) = bench.manifest
    assert line["prelabel"] == {"image_size": [{"width": 200, "height": 100, "depth": 3}], "annotations": []}
    assert line["provenance"]["labelled-by"] == "nobody"
    assert line["provenance"]["failures"] == ["inference-failed"]
    assert bench.issues == [("failed", "inference-failed")]
    assert "out of memory" in bench.part_lines("issues.jsonl")[0]["frame"]["detail"]


def garbage() -> dict[str, tuple[bytes, str]]:
    large = b'"x":"' + b"y" * 1_200_000 + b'",'
    return {
        "nothing": (b"", "answer-unreadable"),
        "html": (b"<html>502</html>", "answer-unreadable"),
        "truncated": (answer()[:-5], "answer-unreadable"),
        "another model's": (b'[{"score":0.9,"label":"car","box":{}}]', "answer-unreadable"),
        "NaN": (answer().replace(b"0.9", b"NaN"), "answer-not-finite"),
        "class of no label": (answer(classes=[9.0]), "answer-unreadable"),
        "infinite": (answer([(0.0, 0.0, 1.5e308, 1.0)]), "answer-not-finite"),
        "large and truncated": (b"{" + large, "answer-truncated"),
        "large and no object": (b"[" + large, "answer-unreadable"),
    }


@pytest.mark.parametrize(("found", "reason"), garbage().values(), ids=garbage())
def test_a_garbage_answer_fails_its_frame_and_no_other(found: bytes, reason: str) -> None:
    bench = Bench()
    bench.add(found=found)
    bench.add()
    tally = bench.label().tally
    assert (tally.labelled, tally.failed) == (1, 1)
    assert bench.issues == [("failed", reason)]
    assert [len(boxes(line)) for line in bench.manifest] == [0, 1]


def test_a_score_a_little_above_1_is_clipped_and_counted() -> None:
    bench = Bench()
    bench.add(found=answer((CAR, CAR), scores=(1.0005, 0.9)))
    bench.add(found=answer((CAR,), scores=(1.0,)))
    bench.add(found=answer((CAR,), scores=(1.0011,)))
    tally = bench.label().tally
    assert (tally.labelled, tally.failed, tally.models[DETECTOR.id].clipped) == (2, 1, 1)
    assert max(d["score"] for d in bench.part_lines("detections.jsonl")[0]["detections"]["items"]) == 1.0


def test_a_missing_answer_fails_its_frame() -> None:
    bench = Bench()
    bench.add()
    del bench.labels.objects["inference/0.out"]
    assert bench.label().tally.failed == 1
    assert bench.issues == [("failed", "answer-gone")]


def test_a_large_answer_gives_the_same_boxes_as_a_small_one() -> None:
    bench = Bench()
    bench.add()
    mask = [[0, 1] * 100] * 3_000
    bench.add(found=answer(image_with_masks=mask, masks=['}"],\\' * 3] * 50_000))
    assert len(bench.labels.objects["inference/1.out"]) > 1_000_000
    assert bench.label().tally.labelled == 2
    assert boxes(bench.manifest[0]) == boxes(bench.manifest[1])


def test_more_boxes_than_fit_a_line_fail_the_frame() -> None:
    bench = Bench()
    bench.add(png(4000, 3000), answer([CAR] * 400))
    tally = bench.label().tally
    assert (tally.labelled, tally.failed, tally.boxes) == (0, 1, 0)
    assert bench.issues == [("failed", "line-too-long")]
    assert boxes(bench.manifest[0]) == []
    # All detections of the model are kept beside the manifest.
    assert len(bench.part_lines("detections.jsonl")[0]["detections"]["items"]) == 400


def test_boxes_below_the_threshold_are_counted_and_kept_as_candidates() -> None:
    bench = Bench()
    bench.model = msgspec.structs.replace(DETECTOR, threshold=0.5, thresholds={"person": 0.2})
    bench.add(found=answer([CAR] * 4, classes=[2.0, 2.0, 0.0, 0.0], scores=[0.5, 0.49, 0.2, 0.19]))
    tally = bench.label().tally
    assert [name for name, *_ in boxes(bench.manifest[0])] == ["car", "person"]
    assert tally.dropped == {"under the threshold": 2}
    candidates = bench.part_lines("detections.jsonl")[0]["detections"]["items"]
    assert [one["score"] for one in candidates] == [0.5, 0.49, 0.2, 0.19]


def test_classes_outside_the_taxonomy_are_dropped_and_counted() -> None:
    bench = Bench(labels=("person", "car"))
    bench.add(found=answer([CAR] * 3, classes=[1.0, 2.0, 3.0]))
    tally = bench.label().tally
    assert boxes(bench.manifest[0]) == [("car", 50, 25, 50, 50)]
    assert bench.manifest[0]["prelabel"]["annotations"][0]["class_id"] == 1
    assert tally.dropped == {"'bicycle' is no label of the job": 1, "no class for 'kite'": 1}


def test_boxes_outside_the_frame_are_dropped_and_counted() -> None:
    bench = Bench()
    bench.add(found=answer([(0.5, 0.5, 0.4, 0.6), (1.1, 0.0, 1.5, 1.0), (0.0, 0.0, 0.001, 1.0), (-0.1, 0.5, 0.5, 1.5)]))
    tally = bench.label().tally
    assert boxes(bench.manifest[0]) == [("car", 0, 50, 100, 50)]
    assert tally.dropped == {"box outside the frame": 3}


@pytest.mark.parametrize(("top", "kept"), [(0.0, 0), (0.4, 0), (0.5, 1), (0.6, 1), (2.0, 1)])
def test_a_box_mostly_on_the_ego_vehicle_is_dropped(top: float, kept: int) -> None:
    # The frame is 200 x 100; the box spans its whole height, the mask everything below `top`.
    mask = ((0.0, 100.0 * top), (200.0, 100.0 * top), (200.0, 300.0), (0.0, 300.0))
    bench = Bench(Camera(ego_mask=mask))
    bench.add(found=answer([(0.25, 0.0, 0.5, 1.0)]))
    tally = bench.label().tally
    assert len(boxes(bench.manifest[0])) == kept
    assert tally.dropped == ({} if kept else {"on the ego vehicle": 1})


def test_the_most_confident_box_comes_first() -> None:
    bench = Bench()
    bench.add(found=answer([CAR] * 3, scores=[0.4, 0.9, 0.6]))
    bench.label()
    objects = bench.manifest[0]["prelabel-metadata"]["objects"]
    assert [one["confidence"] for one in objects] == [0.9, 0.6, 0.4]


def test_reasons_are_single_words_that_can_be_counted() -> None:
    bench = Bench()
    for _ in range(3):
        bench.add(found=b"garbage")
    bench.add(failure="x")
    assert bench.label().tally.reasons == {"failed": {"answer-unreadable": 3, "inference-failed": 1}}


# Readers


def test_results_come_in_the_order_of_their_items() -> None:
    def slow(item: int) -> int:
        time.sleep(0.002 * (5 - item % 5))
        return item * item

    assert list(map_in_order(slow, range(30), 4)) == [i * i for i in range(30)]
    assert list(map_in_order(slow, [], 4)) == []


def test_items_under_way_are_limited() -> None:
    taken: list[int] = []
    lock = threading.Lock()

    def items() -> Iterator[int]:
        for item in range(50):
            with lock:
                taken.append(item)
            yield item

    results = map_in_order(lambda item: item, items(), 3)
    next(results)
    assert len(taken) <= 7
    assert sum(1 for _ in results) == 49


def test_an_error_of_one_item_is_raised() -> None:
    def fail(item: int) -> int:
        if item == 7:
            raise RuntimeError("seven")
        return item

    with pytest.raises(RuntimeError, match="seven"):
        list(map_in_order(fail, range(20), 4))
