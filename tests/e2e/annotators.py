"""The annotator of these tests: keeps every box, with some exceptions.

The first attempt of the first job of a `stopped…` drive waits. In a `partly…` drive, the frames of camera `slow` wait
in the first attempt of the first run; the job of a `partly-failed…` drive fails with them. In a `spared…` drive, the
annotator draws the objects itself where no pre-label is shown. In a `team…` drive, the first of several reviewers keeps
the boxes and the others move the car; of camera `split`, they name it differently or delete it, and the last reviewer
deletes it. In a `tracked…` drive, it makes the boxes of the second frame of each strip wider, and gives the first
object of the third frame a track of its own; strips of camera `unlabelled` fail. The first job of a `tracked-failed…`
drive fails once its strips of other cameras than `slow` are answered. In a `seeded…` drive, it leaves strips as they
are. In a `team-tracks…` drive, each job has another worker: the first two draw an object, and the third does not; of
camera `split`, each gives the cars another class. In jobs of cuboids, it moves the first one of the second
frame, deletes that of the third, adds one to the fifth, and fails the sixth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from local import (
    Annotation,
    AnsweredBy,
    Box,
    Boxes,
    Cuboid,
    Cuboids,
    Failure,
    JobFails,
    JobView,
    TrackedBox,
    Tracks,
    keep_every_box,
)

PATIENCE_SECONDS = 60
# The detections of the choosy model in a frame of 640 x 360 pixels.
THERE = (Box("car", 64, 72, 256, 144), Box("person", 448, 72, 64, 252))
_DRAWN = tuple(
    TrackedBox(box.label, box.left, box.top, box.width, box.height, box.label, f"{box.label}:1") for box in THERE
)


def annotate(line: Mapping[str, Any], job: JobView) -> Annotation | AnsweredBy | Failure:
    """Keep every box; frames of camera `unlabelled` fail."""
    if job.kind == "cuboids":
        return _correct(line, job)
    if job.kind == "tracking":
        if job.name.startswith("seeded"):
            return keep_every_box(line, job)
        return _track_as_one_of_a_team(line, job) if job.name.startswith("team") else _track(line, job)
    if job.name.startswith("stopped") and job.name.endswith("-000-1"):
        job.stopping.wait(PATIENCE_SECONDS)
    if job.name.startswith("partly") and "/slow/" in line["source-ref"] and job.name.endswith("-0001-000-1"):
        if job.name.startswith("partly-failed"):
            # The other frames of the job are answered first.
            job.stopping.wait(2)
            raise JobFails("the job fails half way")
        job.stopping.wait(PATIENCE_SECONDS)
    if "/unlabelled/" in line["source-ref"]:
        return Failure("the picture is too dark")
    if job.name.startswith("spared") and not job.prelabels(line):
        return Boxes(THERE)
    if job.name.startswith("team"):
        return _as_one_of_a_team(line, job)
    return keep_every_box(line, job)


def _correct(line: Mapping[str, Any], job: JobView) -> Cuboids | Failure:
    shown = job.scene(line).shown.cuboids
    # Clouds are named after the timestamps of the frames, which are 100 ms apart.
    at = int(line["source-ref"].rpartition("/")[2].removesuffix(".bin")) // 100_000_000 % 10
    if at == 1:
        x, y, z = shown[0].center
        return Cuboids((replace(shown[0], center=(x + 0.5, y, z)), *shown[1:]))
    if at == 2:
        return Cuboids(shown[1:])
    if at == 4:
        return Cuboids((*shown, Cuboid("truck", (20.0, 4.0, 1.5), (8.0, 2.5, 3.0), 0.1, "truck:1")))
    return Failure("the points are too few") if at == 5 else Cuboids(shown)


def _track(line: Mapping[str, Any], job: JobView) -> Annotation | Failure:
    sequence = job.sequence(line)
    if "/unlabelled/" in str(sequence.frames[0].uri):
        return Failure("the strip is too dark")
    if "/slow/" in str(sequence.frames[0].uri) and job.name.endswith("-0001-000-1"):
        # The other strips of the job are answered first.
        job.stopping.wait(2)
        raise JobFails("the job fails half way")
    frames = dict(sequence.shown.frames)
    if job.name.startswith("spared"):
        return Tracks(frames if any(frames.values()) else {frame.name: _DRAWN for frame in sequence.frames})
    for at, frame in enumerate(sequence.frames):
        boxes = frames.get(frame.name, ())
        if at == 1:
            frames[frame.name] = tuple(replace(box, width=box.width + 6) for box in boxes)
        if at == 2 and boxes:
            own = replace(boxes[0], object_id="480dc450-c0ca-11ea-961f-a9b1c5c97972", object_name="car:9")
            frames[frame.name] = (own, *boxes[1:])
    return Tracks(frames, sequence.shown.image)


def _track_as_one_of_a_team(line: Mapping[str, Any], job: JobView) -> AnsweredBy | Annotation:
    """Answer as another worker in each job of the first round, and leave the strips of the second as they are."""
    if "-again-" in job.name:
        return keep_every_box(line, job)
    sequence, number = job.sequence(line), int(job.name.rpartition("-")[2])
    frames = dict(sequence.shown.frames)
    if "/split/" in str(sequence.frames[0].uri):
        name = ("car", "truck", "bicycle")[number - 1]
        frames = {
            frame: tuple(replace(box, label=name) if box.label == "car" else box for box in boxes)
            for frame, boxes in frames.items()
        }
    elif number < 3:
        drawn = TrackedBox("truck", 340 + number, 10, 80, 50, f"drawn-by-{number}", "truck:1")
        for frame in sequence.frames[1:]:
            frames[frame.name] = (*frames.get(frame.name, ()), drawn)
    return AnsweredBy(f"member-{number}", Tracks(frames, sequence.shown.image))


def _as_one_of_a_team(line: Mapping[str, Any], job: JobView) -> Annotation:
    if job.worker == "scripted":
        return Boxes(tuple(box for box in job.prelabels(line) if box.label == "person"))
    shown = {box.label: box for box in job.prelabels(line)}
    car, person = shown["car"], shown["person"]
    if "/split/" in line["source-ref"]:
        left = {"scripted-1": (car, person), "scripted-2": (replace(car, label="truck"), person)}
        return Boxes(left.get(job.worker, (person,)))
    return Boxes((car if job.worker == "scripted-1" else replace(car, left=car.left + 2), person))
