"""Good and bad drives through the whole pipeline on the embedded cloud."""

from __future__ import annotations

import json

import pytest

from tests.e2e.pipeline import START, Pipeline, eventually, image, timestamps
from tests.fakes.images import jpeg, png_header

pytestmark = pytest.mark.cloud


def test_a_drive_without_frames_ends_with_an_empty_dataset(pipeline: Pipeline) -> None:
    pipeline.close("empty", cameras={"front": {"expected_frames": 2}})
    summary = pipeline.succeed("empty")
    assert summary["frames"] == {"uploaded": 0, "labelled": 0, "failed": 0, "rejected": 0}
    assert summary["verification"] == []
    assert "camera front: 0 of 2 expected frames arrived" in summary["notes"]


def test_every_frame_is_labelled_verified_and_published_once(pipeline: Pipeline) -> None:
    # Two cameras: each shard has frames of one camera, and there are two jobs (of at most eight frames).
    frames = {f"{camera}/{time}.png": image() for camera in ("front", "rear") for time in timestamps(6)}
    pipeline.upload("good", frames)
    summary = pipeline.succeed("good")
    assert summary["frames"] == {"uploaded": 12, "labelled": 12, "failed": 0, "rejected": 0}
    assert summary["classes"] == {"car": 12, "person": 12}
    assert [job["frames"] for job in summary["verification"]] == [6, 6]
    assert all(job["status"] == "Completed" for job in summary["verification"])
    line = pipeline.lines("good", "dataset.manifest")[0]
    assert line["prelabel"] == line["verified"] | {"image_size": line["prelabel"]["image_size"]}
    car, person = line["verified"]["annotations"]
    assert {k: car[k] for k in ("left", "top", "width", "height")} == {
        "left": 64,
        "top": 72,
        "width": 256,
        "height": 144,
    }
    assert line["verified-metadata"]["class-map"][str(person["class_id"])] == "person"
    assert line["prelabel-metadata"]["objects"] == [{"confidence": 0.9}, {"confidence": 0.6}]
    assert line["provenance"]["models"] == ["choosy.0001"]
    assert line["provenance"]["labelled-by"] == "model and person"
    report = pipeline.read("good", "report.html").decode()
    assert report.count("<figure") == 12
    assert "http://" not in report.replace("http://www.w3.org", "")


def test_a_drive_wakes_a_sleeping_endpoint_which_sleeps_again(pipeline: Pipeline) -> None:
    with pipeline.sleeping_endpoint():
        # Fewer frames than the backlog for which scaling aims.
        pipeline.upload("small", {f"front/{time}.png": image() for time in timestamps(2)})
        assert pipeline.succeed("small")["frames"] == {"uploaded": 2, "labelled": 2, "failed": 0, "rejected": 0}
        eventually(lambda: pipeline.instances() == 0, "the endpoint's sleep")


def test_bad_frames_are_counted_by_reason_and_good_ones_labelled(pipeline: Pipeline) -> None:
    times = timestamps(12)
    frames = {
        f"front/{times[0]}.png": image(),
        f"front/{times[1]}.png": b"this is no image",
        f"front/{times[2]}.jpg": jpeg(orientation=6),
        f"front/{times[3]}.png": b"",
        f"front/{times[4]}.png": png_header(20_000, 10_000),
        f"front/{times[5]}.png": image(641),
        f"front/{times[6]}.png": image(642),
        f"front/{times[7]}.png": image(643),
        f"front/{times[8]}.png": image(644),
        f"front/{times[9]}.svg": b"<svg/>",
        f"front/{times[10]}.png": image(),
        f"front/{times[10]}.jpg": image(kind="JPEG"),
        "front/late.png": image(),
        f"roof/{times[11]}.png": image(),
    }
    pipeline.upload("bad", frames, cameras={"front": {}})
    summary = pipeline.succeed("bad")
    assert summary["frames"] == {"uploaded": 14, "labelled": 3, "failed": 3, "rejected": 8}
    assert summary["reasons"]["rejected"] == {
        "key-outside-contract": 2,
        "not-an-image": 1,
        "rotated": 1,
        "empty-object": 1,
        "too-many-pixels": 1,
        "second-object": 1,
        "unknown-camera": 1,
    }
    assert summary["reasons"]["failed"] == {"answer-unreadable": 1, "answer-truncated": 1, "inference-failed": 1} or (
        summary["reasons"]["failed"] == {"answer-unreadable": 2, "inference-failed": 1}
    )
    assert summary["dropped"]["no class for 'zebra'"] == 1
    assert summary["dropped"]["'train' is no label of the job"] == 1
    rejected = {line["key"]: line["detail"] for line in pipeline.lines("bad", "rejected.jsonl")}
    assert len(rejected) == 8
    assert all(key.rsplit("/", 1)[-1] in detail for key, detail in rejected.items())
    failed = {line["key"]: line["detail"] for line in pipeline.lines("bad", "failed.jsonl")}
    assert "500" in failed[f"drives/bad/front/{times[7]}.png"]
    report = pipeline.read("bad", "report.html").decode()
    assert all(word in report for word in ("rotated", "too-many-pixels", "inference-failed", "not-an-image"))
    # A failed frame is in the dataset with its size and without boxes, for reviewers to label.
    line = next(x for x in pipeline.lines("bad", "dataset.manifest") if times[7] in x["source-ref"])
    assert line["prelabel"]["annotations"] == []
    assert line["prelabel"]["image_size"] == [{"width": 643, "height": 360, "depth": 3}]


@pytest.mark.parametrize(
    ("drive", "body", "words"),
    [
        ("not-json", b"{", "is not JSON"),
        ("schema", json.dumps({"vehicle": "v"}).encode(), "cameras"),
        ("model", json.dumps({"vehicle": "v", "cameras": {"a": {}}, "models": ["ghost"]}).encode(), "ghost"),
    ],
)
def test_a_bad_drive_document_is_reported_and_a_good_one_closes_the_drive(
    pipeline: Pipeline, drive: str, body: bytes, words: str
) -> None:
    pipeline.put(drive, f"front/{START}.png", image())
    pipeline.put(drive, "drive.json", body)
    assert words in pipeline.told_ops(f"drives/{drive}/drive.json" if words != "ghost" else "ghost")
    assert pipeline.view(drive).look().status == "not started"
    pipeline.close(drive, cameras={"front": {}})
    summary = pipeline.succeed(drive)
    assert summary["frames"] == {"uploaded": 1, "labelled": 1, "failed": 0, "rejected": 0}
    assert any(words in note for note in summary["notes"])


def test_a_key_outside_every_drive_is_kept_with_its_reason(pipeline: Pipeline) -> None:
    key = "drives/../etc/passwd"
    pipeline.stack.ingest.write(key, b"x")
    found = eventually(lambda: [r for r in pipeline.stack.ledger.refusals("") if r[0] == key], "the record of the key")
    assert found[0][1] == "key-outside-contract"


def test_an_unknown_model_class_or_decoder_is_refused_with_the_known_ones(pipeline: Pipeline) -> None:
    from autolabel.contracts.errors import DocumentRefused
    from autolabel.models.catalogue import parse_model

    good = {"name": "m", "revision": "0001", "endpoint": "e", "decoder": "jumpstart-detection", "classes": {"a": "car"}}
    for change, word in (({"classes": {"a": "carr"}}, "car, van"), ({"decoder": "x"}, "jumpstart-detection")):
        with pytest.raises(DocumentRefused, match=word):
            parse_model(json.dumps(good | change).encode(), "the document")


def test_a_frame_that_fails_verification_keeps_its_pre_label(pipeline: Pipeline) -> None:
    times = timestamps(2)
    pipeline.upload("dark", {f"front/{times[0]}.png": image(), f"unlabelled/{times[1]}.png": image()})
    summary = pipeline.succeed("dark")
    assert summary["verification"][0]["failed"] == 1
    dark = next(line for line in pipeline.lines("dark", "dataset.manifest") if "unlabelled" in line["source-ref"])
    assert "verified" not in dark
    assert dark["provenance"]["verification"] == "the picture is too dark"
    assert summary["unverified"] == {"the picture is too dark": 1}
