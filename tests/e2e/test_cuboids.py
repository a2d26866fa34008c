"""The labels of a drive with a LiDAR get cuboids, by a function that alone reads its clouds; reviewers correct them."""

from __future__ import annotations

import numpy as np
import pytest

from autolabel.contracts.drive import FIRST_RUN
from autolabel.contracts.verification import CUBOIDS
from autolabel.verification.jobs import job_name
from tests.e2e.pipeline import Pipeline, image, timestamps
from tests.fakes.clouds import CAR, camera_that_sees, cloud_file, cloud_of, cuboid_in_vehicle, lidar_drive

pytestmark = pytest.mark.cloud


def test_the_labels_of_a_drive_with_a_lidar_get_cuboids(pipeline: Pipeline) -> None:
    # Given a calibrated camera, which sees a car where the model finds it, one that is not calibrated, and a LiDAR
    # whose clouds come 10 ms later; one of them is cut off
    width, height = 640, 360
    seen = (0.1 * width, 0.2 * height, 0.5 * width, 0.6 * height)
    fields = lidar_drive(camera_that_sees(CAR, seen, width, height))
    fields["cameras"]["side"] = {}
    times = timestamps(9)
    for at, time in enumerate(times):
        body = cloud_file(cloud_of(CAR, seed=at))
        pipeline.put("lidar", f"top/{int(time) + 10_000_000}.bin", body[:-1] if at == 3 else body)
    frames = {f"{camera}/{time}.png": image() for camera in ("front", "side") for time in times}
    # When the drive was labelled and verified, and its cuboids too
    pipeline.upload("lidar", frames, **fields | {"cuboids": "verify"})
    summary = pipeline.succeed("lidar")
    # Then the car has a cuboid in each frame with a good cloud, but where a reviewer deleted it; all other boxes have a
    # reason
    counts = summary["cuboids"]
    assert counts["lifted"] + sum(counts["without"].values()) == summary["boxes"] == 36
    assert counts["without"]["no calibration of the camera"] == 18
    assert counts["without"]["no readable point cloud"] == 2
    assert counts["without"]["deleted by a reviewer"] == counts["origins"]["person"] == counts["added"] == 1
    assert counts["unverified"] == {"the points are too few": 1}
    middle, _ = cuboid_in_vehicle(CAR)
    lines = pipeline.lines("lidar", "dataset.manifest")
    for at, line in enumerate(lines[:9]):
        (car, _), told = line["cuboids"], line["cuboids-metadata"]
        if at == 3:
            assert car == {"why": "no readable point cloud"}
            continue
        assert told["clouds"] == {"top": f"{int(times[at]) + 10_000_000}"}
        assert ("job" in told) != (at == 5)
        if at == 2:
            assert car == {"why": "deleted by a reviewer", "origin": "person"}
            continue
        assert np.linalg.norm(np.array(car["center"]) - middle - ((0.5, 0, 0) if at == 1 else 0)) < 0.5
        assert car.get("origin") == {1: "person", 5: None}.get(at, "model and person")
        assert ("added-cuboids" in line) == (at == 4)
        # The other camera is not calibrated, and a cuboid that a reviewer moved is not projected.
        assert car.get("projections", {}).keys() == (set() if at == 1 else {"front"})
    # And one size in each part, since a track is smoothed in each alone
    cars = [line["cuboids"][0] for line in lines[:9]]
    assert len({tuple(car["size"]) for car in cars if "size" in car}) <= 2
    # And a second reviewer got the frame that came back without a label
    jobs = pipeline.cloud.client("sagemaker").list_labeling_jobs(NameContains="lidar")["LabelingJobSummaryList"]
    cuboids = job_name(pipeline.stack.labels.name, "lidar", FIRST_RUN, 0, CUBOIDS)
    assert {f"{cuboids}-1", f"{cuboids}-again-1"} <= {job["LabelingJobName"] for job in jobs}
