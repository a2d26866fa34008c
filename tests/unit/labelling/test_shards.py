"""Shards, and the jobs that are made of them."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise, zip_longest

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.contracts.errors import AutolabelError, CountMismatch, ShardMissing
from autolabel.contracts.run_folder import RunFolder
from autolabel.labelling.shards import LabelledShard, Shard, ShardFrame, ShardResult, Tally, check_result, plan_shards
from autolabel.verification.jobs import job_name, label_categories, split_into_jobs, worker_template

JOB_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
DRIVES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True)


def frame(index: int) -> ShardFrame:
    return ShardFrame(f"key-{index}", "e", ())


def test_no_frames_give_no_shard() -> None:
    assert list(plan_shards([], 3)) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 12)), max_size=6), st.integers(1, 7))
def test_shards_are_whole_contiguous_and_of_one_camera(runs: list[tuple[str, int]], shard_frames: int) -> None:
    cameras = [camera for camera, count in runs for _ in range(count)]
    frames = [(camera, frame(i)) for i, camera in enumerate(cameras)]
    shards = list(plan_shards(frames, shard_frames))
    assert [(camera, f) for camera, piece in shards for f in piece] == frames
    assert all(1 <= len(piece) <= shard_frames for _, piece in shards)
    # Not more shards than the cameras' frames need.
    merged = [len(list(group)) for group in _groups(cameras)]
    assert len(shards) == sum(-(-count // shard_frames) for count in merged)


def _groups(cameras: list[str]) -> list[list[str]]:
    groups: list[list[str]] = []
    for camera in cameras:
        if groups and groups[-1][0] == camera:
            groups[-1].append(camera)
        else:
            groups.append([camera])
    return groups


def test_the_parts_of_shards_are_in_the_order_of_their_indexes() -> None:
    keys = [RunFolder("d", "0001").shard(index, "manifest.jsonl") for index in (0, 9, 10, 99, 12_345)]
    assert keys == sorted(keys)
    assert keys[0] == "labels/d/0001/shards/000000.manifest.jsonl"


def labelled_shard(index: int, *, labelled: int = 0, failed: int = 0, rejected: int = 0) -> LabelledShard:
    lines = labelled + failed
    return LabelledShard(index, "front", lines, 0, 10 * lines, frozenset({"rejected"} if rejected else ()))


def test_a_shard_without_its_result_is_missing() -> None:
    with pytest.raises(ShardMissing, match="shard 7 of 5 frames"):
        check_result(Shard(7, "front", 5, "k"), None)


@pytest.mark.parametrize(("index", "labelled"), [(7, 4), (7, 6), (8, 5)])
def test_a_result_of_another_shard_is_a_mismatch(index: int, labelled: int) -> None:
    body = msgspec.json.encode(ShardResult(index, Tally(labelled=labelled), 10))
    with pytest.raises(CountMismatch, match="shard 7"):
        check_result(Shard(7, "front", 5, "k"), body)


def test_a_matching_result_is_read_completely() -> None:
    made = ShardResult(3, Tally(labelled=2, failed=1, rejected=2), 30)
    shard = Shard(3, "front", 5, "k3")
    made.tally.count_labels(Counter(car=3), Counter({"under the threshold": 2}))
    assert check_result(shard, msgspec.json.encode(made)) == made


def test_tallies_add_up() -> None:
    one, other = Tally(), Tally()
    one.labelled = 3
    one.count_issues("failed", "x")
    one.count_labels(Counter(car=2, van=1), Counter(why=1))
    other.count_issues("failed", "x")
    other.count_issues("rejected", "y")
    other.count_labels(Counter(car=5), Counter(why=2))
    one.add(other)
    assert (one.labelled, one.failed, one.rejected, one.frames) == (3, 2, 1, 6)
    assert one.boxes == 8
    assert dict(one.classes) == {"car": 7, "van": 1}
    assert dict(one.dropped) == {"why": 3}
    assert {outcome: dict(reasons) for outcome, reasons in one.reasons.items()} == {
        "failed": {"x": 2},
        "rejected": {"y": 1},
    }


# Jobs


def test_no_shards_give_no_job() -> None:
    assert list(split_into_jobs(RunFolder("d", "0001"), [], 10)) == []
    assert list(split_into_jobs(RunFolder("d", "0001"), [labelled_shard(0, rejected=5)], 10)) == []


RESULTS = st.lists(
    st.builds(dict, labelled=st.integers(0, 4), failed=st.integers(0, 2), rejected=st.integers(0, 3)), max_size=15
)


@given(RESULTS, st.integers(6, 30))
def test_jobs_hold_all_frames_in_order_within_their_limit(counts: list[dict[str, int]], max_objects: int) -> None:
    folder = RunFolder("d", "0001")
    shards = [labelled_shard(index, **count) for index, count in enumerate(counts)]
    jobs = list(split_into_jobs(folder, shards, max_objects))
    assert [part for job in jobs for part in job.parts] == [
        (folder.shard(shard.index, "manifest.jsonl"), shard.manifest_bytes) for shard in shards if shard.lines
    ]
    assert sum(job.frames for job in jobs) == sum(shard.lines for shard in shards)
    assert all(0 < job.frames <= max_objects for job in jobs)
    assert [job.key for job in jobs] == [f"labels/d/0001/manifests/verify-{i:03d}.manifest" for i in range(len(jobs))]
    # The first shard of the next job would not have fitted.
    assert all(a.frames + b.parts[0][1] // 10 > max_objects for a, b in pairwise(jobs))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), max_size=30), st.integers(2, 6))
def test_a_job_of_tracks_has_at_most_ten_strips(pieces: list[tuple[str, int]], strip: int) -> None:
    shards = [
        LabelledShard(index, camera, lines, 0, 10 * lines) for index, (camera, lines) in enumerate(sorted(pieces))
    ]
    jobs = list(split_into_jobs(RunFolder("d", "0001"), shards, 1_000, strip))
    assert sum(job.frames for job in jobs) == sum(shard.lines for shard in shards)

    def strips(within: list[LabelledShard]) -> int:
        return sum(-(-sum(s.lines for s in within if s.camera == camera) // strip) for camera in "abc")

    for job, following in zip_longest(jobs, jobs[1:]):
        assert strips(shards[job.first : job.last + 1]) <= 10
        # The first shard of the next job would not have fitted.
        assert following is None or strips(shards[job.first : following.first + 1]) > 10


def test_a_shard_that_is_too_large_for_a_job_is_refused() -> None:
    with pytest.raises(AutolabelError, match="shard 1"):
        list(
            split_into_jobs(
                RunFolder("d", "0001"), [labelled_shard(0, labelled=1), labelled_shard(1, labelled=6, failed=5)], 10
            )
        )


@given(DRIVES, st.integers(1, 9_999), st.integers(0, 99_999), st.integers(1, 1_000))
def test_a_jobs_name_is_valid_for_ground_truth(drive: str, run: int, index: int, attempt: int) -> None:
    name = job_name("labels", drive, f"{run:04d}", index)
    assert len(name) <= 50
    assert JOB_NAME.fullmatch(name)
    assert JOB_NAME.fullmatch(f"{name}-{attempt}")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Drive", "drive"), ("a_b", "a-b"), ("a--b", "a-b"), ("a_", "a-"), ("x" * 62 + "a", "x" * 62 + "b")],
)
def test_drives_with_similar_names_have_different_job_names(one: str, other: str) -> None:
    assert job_name("labels", one, "0001", 0).lower() != job_name("labels", other, "0001", 0).lower()


@given(DRIVES, DRIVES)
def test_different_drives_have_different_job_names(one: str, other: str) -> None:
    if one != other:
        assert job_name("labels", one, "0001", 0).lower() != job_name("labels", other, "0001", 0).lower()


def test_runs_and_jobs_of_a_drive_have_different_names() -> None:
    names = {job_name("labels", "d", run, index) for run in ("0001", "0002") for index in range(3)}
    assert len(names) == 6


def test_categories_are_the_labels_in_the_order_of_their_ids() -> None:
    assert msgspec.json.decode(label_categories(("car", "traffic light"))) == {
        "document-version": "2018-11-28",
        "labels": [{"label": "car"}, {"label": "traffic light"}],
    }


def test_the_worker_page_shows_the_prelabel_and_the_labels() -> None:
    page = worker_template({"car": "#112233", "bus": "#445566"}, ("car", "bus")).decode()
    assert "task.input.manifestLine.prelabel.annotations" in page
    assert "task.input.manifestLine.prelabel-metadata.class-map[class_id]" in page
    assert "PRELABEL" not in page
    assert "LEGEND" not in page
    assert '<span style="background:#112233"></span>car' in page
    assert "task.input.manifestLine.review-ref | grant_read_access" in page
