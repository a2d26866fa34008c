"""Reviewers get the cuboids of a run in jobs of points, and the dataset tells whose each cuboid is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from autolabel.contracts.drive import parse_drive_document
from autolabel.contracts.errors import CountMismatch, DocumentRefused, VerificationRefused
from autolabel.contracts.verification import CUBOIDS
from autolabel.cuboids import Projection
from autolabel.datasets import cuboid_jobs, plan_cuboid_jobs
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.labels.manifest import read_line
from autolabel.reporting.cuboid_pictures import cuboid_picture, ground_of, has_cuboids
from autolabel.verification.jobs import GROUND_TRUTH, JobRound
from autolabel.verification.settlement import settle_round
from autolabel.verification.takeover import end_jobs, mark_taken_over
from tests.fakes.clouds import CAR, cuboid_in_vehicle
from tests.fakes.labeling_jobs import FakeLabelingJobs
from tests.fakes.pipeline import DRIVE, Pipeline, drive_document
from tests.unit.datasets.test_assembly import summary
from tests.unit.datasets.test_lifting import BOX, CLOUD, FRAMES, HEIGHT, WIDTH, cloud_key, dataset, lidar_run, lift

TEAM = "arn:aws:sagemaker:eu-central-1:123456789012:workteam/private-crowd/labellers"
# Makes what a reviewer leaves of a line: the cuboids, or the reason of a failure.
Review = Callable[[int, list[dict[str, Any]]], list[dict[str, Any]] | str]


@pytest.fixture
def lifted(pipeline: Pipeline) -> list[FinishedJob]:
    """Lift the cars of a drive whose reviewers get the cuboids."""
    for index in range(FRAMES):
        pipeline.ingest.write(cloud_key(index), CLOUD)
    jobs = lidar_run(pipeline, cuboids="verify")
    lift(pipeline, jobs, 4)
    return jobs


def lines(pipeline: Pipeline, index: int = 0) -> list[dict[str, Any]]:
    key = pipeline.run.folder.cuboid_manifest(index)
    return [json.loads(line) for line in pipeline.labels.lines(key)]


def review(pipeline: Pipeline, answer: Review, again: str = "", human: str = "yes") -> Any:
    """Answer and settle a round of the first job of cuboids."""
    key = pipeline.run.folder.cuboid_manifest(0).replace(".manifest", f"{again}.manifest")
    given = [json.loads(line) for line in pipeline.labels.lines(key)]

    def output() -> Any:
        for at, line in enumerate(given):
            left = answer(at, [dict(one) for one in line["prelabel-cuboids"]["annotations"]])
            made: Mapping[str, Any] = {"class_map": {"0": "car", "1": "truck"}, "human-annotated": human}
            label = {"verified-cuboids": {"annotations": left}} if isinstance(left, list) else {}
            told = {"failure-reason": left} if isinstance(left, str) else made
            yield json.dumps({**line, **label, "verified-cuboids-metadata": told}).encode()

    one = JobRound("j", GROUND_TRUTH, 2 if again else 1, pipeline.labels.uri(key), len(given), "", CUBOIDS)
    names = frozenset({"car", "truck"})
    return settle_round(one, output(), label_bucket=pipeline.labels, names=names)


def test_a_line_has_the_points_the_picture_and_its_camera(pipeline: Pipeline, lifted: list[FinishedJob]) -> None:
    planned = plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM)
    (job,) = planned.jobs
    assert (job.task, job.attribute, job.frames, job.workteam) == ("cuboids", "verified-cuboids", FRAMES, TEAM)
    found = lines(pipeline)
    assert [line["source-ref"].rpartition(".")[2] for line in found] == ["bin"] * FRAMES
    line = found[0]
    scene = line["source-ref-metadata"]
    (image,) = scene["images"]
    assert scene["format"] == "binary/xyzi"
    picture = scene["prefix"] + image["image-path"]
    assert picture == pipeline.ingest.uri(f"drives/{DRIVE}/front/1700000000000000000.png")
    body = pipeline.labels.read(line["source-ref"].removeprefix(pipeline.labels.uri("")))
    points = np.frombuffer(body or b"", "<f4").reshape(-1, 4)[:, :3].astype(np.float64)
    assert len(points) == len(CLOUD) // 16
    # The car's points, seen through the camera of the line, fill the box; the middle of the cuboid is among them.
    x, y, z, w = (image["heading"][name] for name in ("qx", "qy", "qz", "qw"))
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + 2 * (w * skew + skew @ skew)
    place = np.array([image["position"][name] for name in "xyz"])
    matrix = np.array([[image["fx"], image["skew"], image["cx"], 0], [0, image["fy"], image["cy"], 0], [0, 0, 1, 0]])
    middle, _ = cuboid_in_vehicle(CAR)
    near = points[(np.linalg.norm(points - middle, axis=1) < 2.6) & (points[:, 2] > 0.3)]
    pixels = Projection(matrix, WIDTH, HEIGHT).pixels((near - place) @ turn)
    assert np.allclose(pixels.min(axis=0), BOX[:2], atol=25)
    # Without the points near the ground.
    assert np.isclose(pixels.max(axis=0)[0], BOX[2], atol=25)
    (one,) = line["prelabel-cuboids"]["annotations"]
    assert np.linalg.norm(np.array([one["center-x"], one["center-y"], one["center-z"]]) - middle) < 0.5
    categories = json.loads(pipeline.labels.read(pipeline.run.folder.cuboid_categories) or b"")
    assert categories["auditLabelAttributeName"] == "prelabel-cuboids"


def test_points_of_a_scene_are_finite(pipeline: Pipeline) -> None:
    cloud = np.frombuffer(CLOUD, "<f4").reshape(-1, 4).copy()
    cloud[:3, 3] = np.nan, np.inf, -np.inf
    pipeline.ingest.write(cloud_key(0), cloud.tobytes())
    lift(pipeline, lidar_run(pipeline, 1, cuboids="verify"), 4)
    (scene,) = (body for key, body in pipeline.labels.objects.items() if key.startswith("scenes/"))
    shown = np.frombuffer(scene, "<f4").reshape(-1, 4)
    assert shown[:3, 3].tolist() == [0, 0, 0]
    assert np.isfinite(shown).all()


def test_the_dataset_tells_whose_each_cuboid_is(pipeline: Pipeline, lifted: list[FinishedJob]) -> None:
    (job,) = plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM).jobs

    def answer(at: int, shown: list[dict[str, Any]]) -> list[dict[str, Any]] | str:
        if at == 1:
            return [{**shown[0], "center-x": shown[0]["center-x"] + 1, "class-id": 1, "object-name": "truck:1"}]
        if at == 2:
            return []
        if at == 3:
            return [*shown, {**shown[0], "object-name": "car:2", "center-x": 60.0}]
        return "too few points" if at in (4, 5) else shown

    settled = review(pipeline, answer)
    assert (settled.verified, settled.failed, settled.again.frames) == (4, 2, 2)
    review(pipeline, lambda at, shown: "too few points" if at else shown, "-again")
    before = {key: pipeline.labels.read(key) for key in pipeline.labels.objects if key.startswith("publishing/")}
    assert plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM).jobs == (job,)
    assert {key: pipeline.labels.read(key) for key in before} == before
    pipeline.publish(lifted, 4)
    found = dataset(pipeline)
    (kept,), (moved,), (gone,), (third,), (late,), (left,) = (line["cuboids"] for line in found)
    assert [one.get("origin") for one in (kept, moved, gone, third, late, left)] == [
        *("model and person", "person", "person", "model and person", "model and person", None)
    ]
    assert kept["cost"] >= 0
    assert (moved["label"], moved["center"][0], "cost" in moved) == (
        "truck",
        pytest.approx(kept["center"][0] + 1, abs=0.3),
        False,
    )
    assert gone == {"why": "deleted by a reviewer", "origin": "person"}
    assert [len(line.get("added-cuboids", ())) for line in found] == [0, 0, 0, 1, 0, 0]
    assert found[3]["added-cuboids"][0]["center"][0] == 60.0
    assert found[5]["cuboids-metadata"]["verification"] == "too few points"
    counts = summary(pipeline).cuboids
    assert counts is not None
    assert (counts.frames, counts.origins, counts.added, counts.unverified) == (
        FRAMES,
        {"model and person": 3, "person": 1},
        1,
        {"too few points": 1},
    )


def test_the_report_draws_what_reviewers_left(pipeline: Pipeline, lifted: list[FinishedJob]) -> None:
    plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM)

    def answer(at: int, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
        moved = {**shown[0], "center-x": shown[0]["center-x"] + 1, "class-id": 1}
        behind = {"center-x": 3 * moved["center-x"], "center-y": 3 * moved["center-y"]}
        return [moved, {**shown[0], **behind, "object-name": "car:2"}] if at else []

    review(pipeline, answer)
    pipeline.publish(lifted, 4)
    sensors = summary(pipeline).sensors
    assert sensors is not None
    found = [read_line(json.dumps(line).encode()) for line in dataset(pipeline)]
    assert [has_cuboids(line) for line in found] == [False] + [True] * (FRAMES - 1)
    drawn = cuboid_picture(found[1], sensors, "", "").cuboids
    assert [one.name for one in drawn] == ["truck", "car"]
    assert all(one.edges and one.front for one in drawn)
    # The added one is behind the other.
    assert [one.hidden for one in drawn] == [False, True]
    assert ground_of(found).height > 40


def test_reviewers_get_the_cuboids_of_a_drive_that_asks_for_no_other_labels(pipeline: Pipeline) -> None:
    for index in range(FRAMES):
        pipeline.ingest.write(cloud_key(index), CLOUD)
    jobs = lidar_run(pipeline, cuboids="verify", verification={"policy": "none"})
    assert jobs == []
    lift(pipeline, jobs, 4)
    plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM)
    review(pipeline, lambda at, shown: shown)
    pipeline.publish(jobs, 4)
    assert {line["cuboids"][0]["origin"] for line in dataset(pipeline)} == {"model and person"}
    assert {line["provenance"]["labelled-by"] for line in dataset(pipeline)} == {"nobody"}


def test_what_a_script_left_is_not_a_persons(pipeline: Pipeline, lifted: list[FinishedJob]) -> None:
    plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM)
    review(pipeline, lambda at, shown: shown if at else [], human="no")
    pipeline.publish(lifted, 4)
    assert {line["cuboids"][0]["origin"] for line in dataset(pipeline)} == {"script"}


def test_a_part_is_not_published_before_its_cuboids_are_settled(pipeline: Pipeline, lifted: list[FinishedJob]) -> None:
    plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM)
    with pytest.raises(CountMismatch, match="are not settled"):
        pipeline.publish(lifted, 4)


def test_persons_work_is_not_lost_where_the_run_is_published_in_other_parts(
    pipeline: Pipeline, lifted: list[FinishedJob]
) -> None:
    plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM)
    review(pipeline, lambda at, shown: shown)
    with pytest.raises(CountMismatch, match="give the stack's parameter PartFrames its earlier value"):
        pipeline.publish(lifted, 2)


@pytest.mark.parametrize("gone", ["cuboid-jobs.jsonl", ".cuboids.jsonl", ""])
def test_persons_work_is_not_lost_where_what_they_were_sent_is_gone(
    pipeline: Pipeline, lifted: list[FinishedJob], gone: str
) -> None:
    plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM)
    review(pipeline, lambda at, shown: shown)
    for key in [one for one in pipeline.labels.objects if one.startswith("publishing/") and one.endswith(gone)]:
        del pipeline.labels.objects[key]
    with pytest.raises(CountMismatch, match="is gone"):
        pipeline.publish(lifted, 4)


def test_an_execution_that_does_not_know_these_jobs_publishes_the_models_cuboids(
    pipeline: Pipeline, lifted: list[FinishedJob]
) -> None:
    pipeline.publish(lifted, 4)
    assert not any("origin" in line["cuboids"][0] for line in dataset(pipeline))


def test_jobs_have_whole_parts_and_their_number_is_bounded(
    pipeline: Pipeline, lifted: list[FinishedJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuboid_jobs, "MAX_SCENES", 4)
    jobs = plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM).jobs
    assert [job.frames for job in jobs] == [4, 2]
    assert len({job.name for job in jobs}) == 2
    assert [len(lines(pipeline, at)) for at in range(2)] == [4, 2]
    monkeypatch.setattr(cuboid_jobs, "MAX_CUBOID_JOBS", 1)
    with pytest.raises(VerificationRefused, match="upload the drive in parts"):
        plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM)


def test_a_drive_that_wants_its_cuboids_verified_in_label_studio_is_refused(pipeline: Pipeline) -> None:
    verification = {"policy": "all", "back_end": "label-studio"}
    fields = {"lidars": {"top": {}}, "cuboids": "verify", "verification": verification}
    with pytest.raises(DocumentRefused, match="Label Studio has no point clouds"):
        parse_drive_document(drive_document(**fields), "drives/d1/drive.json")


def test_a_run_whose_work_another_took_over_makes_no_jobs(pipeline: Pipeline, lifted: list[FinishedJob]) -> None:
    mark_taken_over(pipeline.labels, pipeline.run.folder, "0002")
    with pytest.raises(VerificationRefused, match="run 0002 took over"):
        plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM)


def test_a_relabel_stops_the_open_jobs_of_cuboids(pipeline: Pipeline, lifted: list[FinishedJob]) -> None:
    (job,) = plan_cuboid_jobs(pipeline.run, pipeline.labels, TEAM).jobs
    jobs = FakeLabelingJobs(pipeline.labels)
    name = f"{job.name}-1"
    jobs.create(name, job.manifest)
    endings = [
        end_jobs(pipeline.run, label_bucket=pipeline.labels, jobs=jobs, projects=None, waited=0.0) for _ in range(3)
    ]
    assert [(ending.waiting, ending.ended) for ending in endings] == [((name,), False), ((name,), False), ((), True)]
    assert jobs.stopped == [name]
