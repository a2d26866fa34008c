"""Cuboids find their boxes again after any edit of reviewers, and a yaw that is written otherwise is noticed."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import VerificationRefused
from autolabel.contracts.verification import CUBOIDS
from autolabel.labels.box_cuboids import BoxCuboid
from autolabel.labels.manifest import MAX_ATTRIBUTE, raw
from autolabel.verification.cuboid_labels import (
    CLOCKWISE,
    RIGHT_HANDED,
    CuboidAnnotation,
    CuboidLabel,
    LeftCuboid,
    SceneMetadata,
    as_line,
    expand_cuboids,
    read_left,
    sent_cuboids,
)
from autolabel.verification.jobs import GROUND_TRUTH, JobRound
from autolabel.verification.settlement import read_results, settle_round
from tests.fakes.bucket import FakeBucket

CLASSES = ("car", "person", "truck")
MADE = {"creation-date": "2026-01-01T00:00:00", "job-name": "d1-0001"}
MANIFEST = "labels/d1/0001/manifests/cuboids-00.manifest"
OUTPUT = "labels/d1/0001/verification/j/manifests/output/output.manifest"


def cuboid(at: int, yaw: float) -> BoxCuboid:
    """Make the cuboid of a box: objects are 4 m from each other."""
    return BoxCuboid((10.0 + 4 * at, float(at % 3), 0.8), (4.1, 1.7, 1.5), round(yaw, 4), 0.2, 90)


boxes = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.floats(-math.pi, math.pi), st.booleans()), min_size=1, max_size=12
)


def sent_of(drawn: list[tuple[str, float, bool]]) -> list[tuple[int, CuboidAnnotation]]:
    cuboids = [cuboid(at, yaw) if lifted else BoxCuboid(why="poor fit") for at, (_, yaw, lifted) in enumerate(drawn)]
    return sent_cuboids([name for name, _, _ in drawn], cuboids, CLASSES)


def left(
    annotations: list[CuboidAnnotation], sent: list[tuple[int, CuboidAnnotation]], key: str = "class_map"
) -> list[LeftCuboid]:
    names = {str(at): name for at, name in enumerate(CLASSES)}
    return read_left(raw(CuboidLabel(tuple(annotations))), raw({key: names}), sent)


@given(boxes, st.data())
def test_whatever_reviewers_did_each_cuboid_finds_its_box(
    drawn: list[tuple[str, float, bool]], data: st.DataObject
) -> None:
    sent = sent_of(drawn)
    given_back, expected = list[CuboidAnnotation](), dict[int | None, str]()
    for box, one in sent:
        act = data.draw(st.sampled_from(["keep", "move", "turn", "rename", "delete"]))
        if act == "delete":
            continue
        if act == "move":
            one = msgspec.structs.replace(one, center_x=one.center_x + 1.5)
        if act == "turn":
            one = msgspec.structs.replace(one, yaw=one.yaw + math.pi)
        if act == "rename":
            # Another class gives the object another name.
            other = CLASSES[(int(one.class_id) + 1) % 3]
            one = msgspec.structs.replace(one, class_id=CLASSES.index(other), object_name=f"{other}:9{box}")
        if data.draw(st.booleans()):
            one = msgspec.structs.replace(one, class_id=str(one.class_id))
        given_back.append(one)
        expected[box] = act
    added = CuboidAnnotation("car:77", "0", 500.0, 1.0, 1.0, 4.0, 2.0, 1.5, 0.3)
    shuffled = data.draw(st.permutations([*given_back, added]))
    found = left(shuffled, sent)
    assert {one.box: one.touched for one in found} == {
        **{box: act != "keep" for box, act in expected.items()},
        None: True,
    }
    assert all(-math.pi <= one.yaw <= math.pi for one in found)


def test_a_second_cuboid_of_one_name_is_an_added_one() -> None:
    sent = sent_of([("car", 0.3, True)])
    (_, one), elsewhere = sent[0], msgspec.structs.replace(sent[0][1], center_x=90.0)
    assert [(found.box, found.touched) for found in left([one, elsewhere], sent, "class-map")] == [
        (0, False),
        (None, True),
    ]


def test_cuboids_beyond_the_limit_of_an_attribute_are_not_sent() -> None:
    sent = sent_of([("person", 0.1 * at, True) for at in range(400)])
    assert 80 < len(sent) < 400
    assert len(msgspec.json.encode(CuboidLabel(tuple(one for _, one in sent)))) <= MAX_ATTRIBUTE


class Job:
    """A job of cuboids over a bucket: a frame for each list of yaws."""

    def __init__(self, *frames: list[float]) -> None:
        self.bucket = FakeBucket("labels")
        self.clouds = [self.bucket.uri(f"scenes/d1/0001/front/{at}.bin") for at in range(len(frames))]
        self.sent = [[one for _, one in sent_of([("car", yaw, True) for yaw in yaws])] for yaws in frames]
        lines = (
            as_line(cloud, SceneMetadata(1.0, "s3://in/"), list(enumerate(sent)), CLASSES, MADE)
            for cloud, sent in zip(self.clouds, self.sent, strict=True)
        )
        self.bucket.write(MANIFEST, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))

    def line(self, frame: int, annotations: list[CuboidAnnotation] | None = None, **changes: Any) -> dict[str, Any]:
        """Make the output line of a frame, as Ground Truth's guide shows it."""
        given = self.sent[frame] if annotations is None else annotations
        metadata = {"objects": [], "class_map": {"0": "car"}, "human-annotated": "yes"}
        label = msgspec.to_builtins(CuboidLabel(tuple(given)))
        return {
            "source-ref": self.clouds[frame],
            "verified-cuboids": label,
            "verified-cuboids-metadata": metadata,
            **changes,
        }

    def expand(self, lines: list[dict[str, Any]], yaw: Any = RIGHT_HANDED) -> list[bytes]:
        self.bucket.write(OUTPUT, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        return list(expand_cuboids("j", OUTPUT, self.bucket.lines(MANIFEST), self.bucket, yaw))

    def settle(self, lines: list[dict[str, Any]] | list[bytes]) -> Any:
        output = [line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines]
        one = JobRound(
            "j", GROUND_TRUTH, 1, self.bucket.uri(MANIFEST), len(self.clouds), self.bucket.uri(OUTPUT), CUBOIDS
        )
        return settle_round(one, output, label_bucket=self.bucket, names=frozenset(CLASSES))


def mirrored(one: CuboidAnnotation) -> CuboidAnnotation:
    return msgspec.structs.replace(one, yaw=math.pi - one.yaw)


# Neither along an axis nor half-way between two of them by chance.
slanted = st.floats(0.05, 1.5)


@given(st.lists(st.lists(slanted, min_size=1, max_size=4), min_size=1, max_size=4))
def test_untouched_cuboids_show_how_a_yaw_is_written(frames: list[list[float]]) -> None:
    job = Job(*frames)
    as_sent = [job.line(at) for at in range(len(frames))]
    turned = [job.line(at, [mirrored(one) for one in job.sent[at]]) for at in range(len(frames))]
    assert job.expand(as_sent) == [msgspec.json.encode(line) for line in as_sent]
    with pytest.raises(VerificationRefused, match=r"job j: .*CuboidYaw to clockwise and redrive"):
        job.expand(turned)
    with pytest.raises(VerificationRefused, match=r"job j: .*CuboidYaw to right-handed and redrive"):
        job.expand(as_sent, CLOCKWISE)
    for line, sent in zip(job.expand(turned, CLOCKWISE), job.sent, strict=True):
        label = msgspec.json.decode(line)["verified-cuboids"]
        for one, before in zip(msgspec.convert(label, CuboidLabel).annotations, sent, strict=True):
            assert math.isclose(math.remainder(one.yaw - before.yaw, math.tau), 0, abs_tol=1e-9)


def test_half_turns_of_cuboids_along_the_axes_and_changed_ones_show_nothing() -> None:
    job = Job([0.0, math.pi / 2, 0.005, 0.7])
    half = [msgspec.structs.replace(one, yaw=one.yaw + math.pi) for one in job.sent[0][:3]]
    moved = msgspec.structs.replace(mirrored(job.sent[0][3]), center_x=99.0)
    job.expand([job.line(0, [*half, moved])])


def test_one_mirrored_cuboid_among_others_is_a_reviewers_edit() -> None:
    job = Job([0.4, 0.5, 0.6])
    job.expand([job.line(0, [mirrored(job.sent[0][0]), *job.sent[0][1:]])])


def test_the_yaw_is_checked_by_some_cuboids_of_a_crowded_frame() -> None:
    # All cuboids of a job's frames would take more memory than a function has.
    job = Job(*[[0.0, *(0.3 + 0.01 * at for at in range(80))]] * 3)
    with pytest.raises(VerificationRefused, match=": 60 cuboids"):
        job.expand([job.line(at, [mirrored(one) for one in job.sent[at]]) for at in range(3)])


def test_settling_takes_one_line_for_each_frame_of_the_job_and_no_other() -> None:
    job = Job([0.3], [0.4], [0.5], [0.6])
    foreign = {**job.line(0), "source-ref": job.bucket.uri("scenes/d2/0001/front/0.bin")}
    failed = {"source-ref": job.clouds[2], "verified-cuboids-metadata": {"failure-reason": "no points"}}
    settled = job.settle([*map(msgspec.json.encode, [foreign, failed, job.line(1), job.line(0), job.line(1)]), b"{"])
    assert (settled.verified, settled.failed, settled.foreign, settled.doubled, settled.broken) == (2, 2, 1, 1, 1)
    results = list(read_results(job.bucket, settled.results))
    assert [result.failure for result in results] == ["", "", "no points", "not in the job's output"]
    # The frames without a label go to the second round with the same lines.
    given = list(job.bucket.lines(MANIFEST))
    again = job.bucket.lines(MANIFEST.replace(".manifest", "-again.manifest"))
    assert list(again) == given[2:]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"class_id": 7}, "cuboid 1 has the class 7, which is not in the class map"),
        ({"length": 0.0}, "cuboid 1 (car) has sides of 0, 1.7, 1.5 metres"),
        ({"height": 1e300}, "cuboid 1 (car) has sides of 4.1, 1.7, 1e+300 metres"),
        ({"center_y": 1e200}, "cuboid 1 (car) is more than 1000 metres away"),
        ({"yaw": 1e9}, "cuboid 1 (car) has a yaw of 1e+09 radians"),
    ],
)
def test_a_cuboid_that_cannot_be_is_a_failure_that_names_it(changes: dict[str, Any], why: str) -> None:
    job = Job([0.3])
    settled = job.settle([job.line(0, [msgspec.structs.replace(job.sent[0][0], **changes)])])
    (result,) = read_results(job.bucket, settled.results)
    assert result.failure == why


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_label_settles(label: Any) -> None:
    job = Job([0.3])
    line = job.line(0) | {"verified-cuboids": label}
    assert job.settle(job.expand([line])).frames == 1
