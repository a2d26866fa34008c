"""A run whose reviewers see views of the frames, from drive.json to the dataset."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from autolabel.contracts.errors import CatalogueUnavailable
from autolabel.datasets.assembly import Assembly
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.labels.manifest import ManifestLine, read_line
from autolabel.reporting.summary import Summary
from autolabel.verification.ground_truth import read_output, write_shown
from autolabel.verification.jobs import JobRound, VerificationJob
from autolabel.verification.settlement import settle_round
from tests.fakes.answers import BLUR, DETECTOR, REGIONS, add_to_catalogue, answer
from tests.fakes.images import saved
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document, frame_key, verified

FRAMES = 6
# The plate and the head that the model of views finds, as shares of the frame, and in pixels.
PLATE, HEAD = (0.25, 0.5, 0.5, 0.75), (0.75, 0.0, 1.0, 0.25)
COVERED = (slice(24, 36), slice(16, 32))


def frame(index: int) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
    return saved(Image.fromarray(pixels), "PNG")


def pixels_of(body: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(int)


def begun(*, stack: bool = True, failing: frozenset[int] = frozenset(), **document: Any) -> Pipeline:
    """A run whose shards are labelled. `failing`: frames that the model of views does not answer."""
    pipeline = Pipeline()
    add_to_catalogue(pipeline.labels, DETECTOR, BLUR, default=("detector", "blur"))
    pipeline.privacy = stack
    for index in range(FRAMES):
        pipeline.submit(pipeline.upload(frame_key(index), frame(index)))
    pipeline.close(drive_document(**document))
    pipeline.reconcile()
    pipeline.submit_asked()
    regions = answer([PLATE, HEAD], [0.0, 1.0], [0.9, 0.9], REGIONS)
    for invocation in pipeline.endpoints.taken:
        of_views = invocation.endpoint == BLUR.endpoint
        broken = of_views and any(frame_key(index) in invocation.input_location for index in failing)
        body = b"broken" if broken else regions if of_views else answer()
        pipeline.collect(pipeline.endpoints.answer(invocation, body))
    pipeline.reconcile()
    pipeline.plan()
    pipeline.label()
    return pipeline


def lines_of(pipeline: Pipeline, uri: str) -> list[ManifestLine]:
    return [read_line(line) for line in pipeline.labels.lines(pipeline.key_of(uri))]


def reviewed(pipeline: Pipeline, job: VerificationJob) -> FinishedJob:
    """Finish a job of Ground Truth as the state machine does it: the job is given the lines of views."""
    given = write_shown(job.manifest, pipeline.labels).manifest
    output = "labels/out/output.manifest"
    body = b"".join(
        msgspec.json.encode(verified(json.loads(line))) + b"\n"
        for line in pipeline.labels.lines(pipeline.key_of(given))
    )
    pipeline.labels.write(output, body)
    one = JobRound(job.name, job.back_end, 1, job.manifest, job.frames, pipeline.labels.uri(output))
    left = read_output(one, pipeline.labels.lines(pipeline.key_of(job.manifest)), pipeline.labels)
    settled = settle_round(one, left, label_bucket=pipeline.labels, names=frozenset(pipeline.run.labels))
    return FinishedJob(job.name, "Completed", job.frames, job.first, job.last, (settled,))


@pytest.mark.parametrize("asked", [{"stack": True}, {"stack": False, "privacy": "blur"}])
def test_reviewers_see_views_and_the_dataset_has_the_frames(asked: dict[str, Any]) -> None:
    pipeline = begun(**asked)
    (job,) = pipeline.assemble().jobs
    assert job.views
    given = write_shown(job.manifest, pipeline.labels).manifest
    for index, line in enumerate(lines_of(pipeline, given)):
        # Nothing in the job's manifest leads a reviewer to the frame.
        assert line.source_ref == line.review_ref
        assert line.source_ref.startswith(pipeline.labels.uri(f"views/{DRIVE}/{BLUR.id}/front/"))
        view = pixels_of(pipeline.labels.objects[pipeline.key_of(line.source_ref)])
        original = pixels_of(frame(index))
        assert np.ptp(view[COVERED].mean(axis=-1)) <= 10
        assert np.array_equal(view[40:], original[40:])
    published = pipeline.publish([reviewed(pipeline, job)])
    dataset = lines_of(pipeline, published.dataset)
    assert [line.source_ref for line in dataset] == [pipeline.ingest.uri(frame_key(index)) for index in range(FRAMES)]
    assert all(line.verified_by_person for line in dataset)


def test_a_frame_without_its_view_is_not_shown_and_is_counted() -> None:
    pipeline = begun(failing=frozenset({1, 4}))
    assembly = pipeline.assemble()
    assert assembly.rejected == {"no-view": 2}
    assert assembly.frames.labelled == FRAMES - 2
    hidden = {frame_key(index) for index in (1, 4)}
    for job in assembly.jobs:
        assert not hidden & {line.source_ref.partition("ingest/")[2] for line in lines_of(pipeline, job.manifest)}
    rejected = [json.loads(line) for line in pipeline.labels.lines(pipeline.run.folder.rejected)]
    assert {one["key"] for one in rejected} == hidden
    assert all("blur.0001" in one["detail"] for one in rejected)


def test_the_report_shows_views_and_reads_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = begun()
    assemble_without_frames(pipeline, monkeypatch)
    page = pipeline.labels.objects[pipeline.run.folder.report].decode()
    images = page.split("data:image/jpeg;base64,")[1:]
    assert len(images) >= FRAMES
    for image in images:
        shown = pixels_of(base64.b64decode(image.split('"')[0].split("'")[0].split(")")[0]))
        inner = shown[27:33, 19:29].mean(axis=-1)
        assert np.ptp(inner) < 40


def assemble_without_frames(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Assembly:
    """Assemble while no frame can be read."""

    def refuse(key: str, *_: object) -> None:
        raise AssertionError(f"{key} was read")

    monkeypatch.setattr(pipeline.ingest, "read_range", refuse)
    return pipeline.assemble()


def test_a_relabelled_drive_has_the_same_views() -> None:
    pipeline = begun()
    pipeline.verify(pipeline.assemble())
    before = {key: body for key, body in pipeline.labels.objects.items() if key.startswith("views/")}
    assert len(before) == FRAMES
    # They have expired meanwhile.
    for key in before:
        del pipeline.labels.objects[key]
    pipeline.relabel()
    after = {key: body for key, body in pipeline.labels.objects.items() if key.startswith("views/")}
    assert after == before


@pytest.mark.parametrize("with_manifest", [True, False])
def test_labels_of_an_open_job_with_views_are_taken_over(with_manifest: bool) -> None:
    pipeline = begun()
    pipeline.jobs.with_manifest = with_manifest
    (job,) = pipeline.assemble().jobs
    name = f"{job.name}-1"
    pipeline.jobs.create(name, write_shown(job.manifest, pipeline.labels).manifest)
    box = {"label": "car", "left": 20, "top": 12, "width": 30, "height": 20}
    for place in (1, 4):
        pipeline.jobs.answer(name, place, [box])
    pipeline.relabel()
    earlier = [
        json.loads(line)["position"]
        for key, body in pipeline.labels.objects.items()
        if key.startswith(pipeline.run.folder.prefix) and key.endswith(".earlier.jsonl")
        for line in body.splitlines()
    ]
    assert sorted(earlier) == [frame_key(index).split("/", 2)[2].removesuffix(".png") for index in (1, 4)]


def test_a_drive_waits_for_a_model_of_views() -> None:
    pipeline = Pipeline()
    with pytest.raises(CatalogueUnavailable, match="models add"):
        pipeline.close(drive_document(privacy="blur"))


def test_a_run_without_views_asks_no_model_of_views() -> None:
    pipeline = begun(stack=False)
    assert {invocation.endpoint for invocation in pipeline.endpoints.taken} == {DETECTOR.endpoint}
    assembly = pipeline.assemble()
    assert not assembly.jobs[0].views
    assert all(line.shown_ref == line.source_ref for line in lines_of(pipeline, assembly.jobs[0].manifest))
    summary = msgspec.json.decode(pipeline.labels.objects[pipeline.run.folder.summary], type=Summary)
    assert summary.models == (DETECTOR.id,)
