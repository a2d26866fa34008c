"""Publication joins the reviewers' labels with the drive's frames and writes the dataset."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from autolabel.contracts.errors import CountMismatch, RunMissing
from autolabel.datasets.assembly import Assembly
from autolabel.datasets.parts import MAX_REASONS
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.labelling.shards import OTHER_KINDS
from autolabel.reporting.summary import Summary
from autolabel.verification.jobs import JobRound
from autolabel.verification.settlement import settle_round
from tests.fakes.pipeline import DRIVE, Answers, Pipeline, drive_document, frame_key, verified
from tests.unit.datasets.test_assembly import PREFIX, labelled, summary

FRAMES = 6


@pytest.fixture
def assembly(pipeline: Pipeline) -> Assembly:
    """A run with two jobs, of four frames and of two."""
    return labelled(pipeline, FRAMES, shard_frames=2).assemble(max_objects=4)


@pytest.fixture
def jobs(pipeline: Pipeline, assembly: Assembly) -> list[FinishedJob]:
    """The jobs of `assembly`, with every box kept by its reviewers."""
    return pipeline.verify(assembly)


def dataset(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [json.loads(line) for line in pipeline.labels.lines(PREFIX + "dataset.manifest")]


def given_line(pipeline: Pipeline, assembly: Assembly) -> dict[str, Any]:
    """The first line that reviewers were given."""
    line: dict[str, Any] = json.loads(next(pipeline.labels.lines(pipeline.key_of(assembly.jobs[0].manifest))))
    return line


def answered(pipeline: Pipeline, assembly: Assembly, *first: Answers) -> list[FinishedJob]:
    """Finish both jobs; `first` has the answers to the first job, round by round."""
    one, other = assembly.jobs
    return [pipeline.finish(one, *first), pipeline.finish(other)]


def results(pipeline: Pipeline, jobs: list[FinishedJob]) -> list[bytes]:
    """The results of the first round of the first job."""
    return list(pipeline.labels.lines(pipeline.key_of(jobs[0].rounds[0].results)))


def changed(line: bytes, **changes: Any) -> bytes:
    fields = json.loads(line)
    for name, value in changes.items():
        if value is None:
            del fields[name.replace("_", "-")]
        else:
            fields[name.replace("_", "-")] = value
    return json.dumps(fields).encode()


def without_boxes(line: bytes) -> bytes:
    """The line of a frame in which a reviewer deleted every box."""
    return changed(
        line,
        verified={"image_size": [{"width": 64, "height": 48, "depth": 3}], "annotations": []},
        verified_metadata={"objects": [], "class-map": {}, "type": "groundtruth/object-detection"},
    )


def test_a_run_without_frames_has_an_empty_dataset(pipeline: Pipeline) -> None:
    labelled(pipeline, 0).assemble()
    publication = pipeline.publish([])
    assert dataset(pipeline) == []
    assert (publication.boxes, publication.verified) == (0, 0)
    assert publication.frames == {"uploaded": 0, "labelled": 0, "failed": 0, "rejected": 0}


def test_a_verified_run_is_published_with_every_frame(pipeline: Pipeline, jobs: list[FinishedJob]) -> None:
    publication = pipeline.publish(jobs)
    lines = dataset(pipeline)
    assert [line["source-ref"] for line in lines] == [f"s3://ingest/{frame_key(i)}" for i in range(FRAMES)]
    assert all(line["verified"] == line["prelabel"] for line in lines)
    assert {line["provenance"]["labelled-by"] for line in lines} == {"model and person"}
    assert [line["provenance"]["job"] for line in lines] == [jobs[0].job] * 4 + [jobs[1].job] * 2
    assert (publication.verified, publication.boxes) == (FRAMES, FRAMES)
    assert publication.dataset == f"s3://labels/{PREFIX}dataset.manifest"
    assert pipeline.ledger.outcomes == {(DRIVE, "0001"): ("published", pipeline.now)}
    found = summary(pipeline)
    assert [(o.job, o.status, o.frames, o.verified, o.unadjusted, o.failed) for o in found.verification] == [
        (jobs[0].job, "Completed", 4, 4, 4, 0),
        (jobs[1].job, "Completed", 2, 2, 2, 0),
    ]
    assert found.dataset == publication.dataset
    assert found.notes == ()


def test_the_event_has_uris_and_counts_and_no_labels(pipeline: Pipeline, jobs: list[FinishedJob]) -> None:
    pipeline.publish(jobs)
    ((kind, detail),) = pipeline.announcements.published
    assert kind == "DriveLabelled"
    assert detail["drive"] == DRIVE
    assert detail["frames"] == {"uploaded": 6, "labelled": 6, "failed": 0, "rejected": 0}
    assert len(json.dumps(detail)) < 2_000


def test_the_event_counts_what_was_rejected_by_reason(pipeline: Pipeline) -> None:
    pipeline.upload(frame_key(8), b"")
    pipeline.upload(frame_key(9), b"")
    labelled(pipeline, 0).assemble()
    publication = pipeline.publish([])
    assert publication.frames == {"uploaded": 2, "labelled": 0, "failed": 0, "rejected": 2}
    ((_, detail),) = pipeline.announcements.published
    assert detail["rejected"] == publication.rejected == {"empty-object": 2}


def test_publishing_twice_writes_the_same(pipeline: Pipeline, assembly: Assembly) -> None:
    jobs = answered(pipeline, assembly, lambda lines: [b"broken", *lines[1:]])
    first = pipeline.publish(jobs)
    before = dict(pipeline.labels.objects)
    assert pipeline.publish(jobs) == first
    assert pipeline.labels.objects == before


def test_a_run_that_was_never_assembled_is_not_published(pipeline: Pipeline) -> None:
    labelled(pipeline, 1)
    with pytest.raises(RunMissing, match="never assembled"):
        pipeline.publish([])
    assert not pipeline.labels.exists(PREFIX + "dataset.manifest")


def test_a_missing_job_stops_the_publication(pipeline: Pipeline, jobs: list[FinishedJob]) -> None:
    with pytest.raises(CountMismatch, match="no verification job has s3://ingest/"):
        pipeline.publish(jobs[:1])
    assert not pipeline.announcements.published


def test_adjusted_boxes_are_taken_and_counted(pipeline: Pipeline, assembly: Assembly) -> None:
    box = {"class_id": 3, "left": 1, "top": 2, "width": 3, "height": 4}
    size = [{"width": 64, "height": 48, "depth": 3}]

    def adjust(lines: list[bytes]) -> list[bytes]:
        line = json.loads(lines[0])
        line["verified"] = {"image_size": size, "annotations": [box, box]}
        line["verified-metadata"] |= {
            "objects": [{"confidence": 0.0}] * 2,
            "class-map": {"3": "person"},
            "adjustment-status": "adjusted",
        }
        return [json.dumps(line).encode(), *lines[1:]]

    jobs = answered(pipeline, assembly, adjust)
    publication = pipeline.publish(jobs)
    assert dataset(pipeline)[0]["verified"]["annotations"] == [box, box]
    assert dataset(pipeline)[0]["prelabel"]["annotations"] != [box, box]
    assert publication.boxes == FRAMES + 1
    assert summary(pipeline).classes == {"car": 5, "person": 2}
    assert [o.unadjusted for o in summary(pipeline).verification] == [3, 2]


def test_a_frame_whose_boxes_were_all_deleted_is_verified(pipeline: Pipeline, assembly: Assembly) -> None:
    jobs = answered(pipeline, assembly, lambda lines: [without_boxes(lines[0]), *lines[1:]])
    publication = pipeline.publish(jobs)
    assert (publication.verified, publication.boxes) == (FRAMES, FRAMES - 1)


def test_a_frame_without_a_prelabel_is_labelled_by_person(pipeline: Pipeline) -> None:
    labelled(pipeline, 2)
    pipeline.labels.write(pipeline.endpoints.taken[0].output_key, b"garbage")
    pipeline.label()
    pipeline.publish(pipeline.verify(pipeline.assemble()))
    assert [line["provenance"]["labelled-by"] for line in dataset(pipeline)] == ["person", "model and person"]
    assert dataset(pipeline)[0]["provenance"]["failures"] == ["answer-unreadable"]


def failed_metadata(line: bytes) -> dict[str, Any]:
    """The metadata of a label, with a failure-reason added."""
    return {**json.loads(line)["verified-metadata"], "failure-reason": "ClientError"}


DEEP = b"[" * 100_000
LOST: dict[str, tuple[Callable[[bytes], list[bytes]], str]] = {
    "missing": (lambda line: [], "not in the job's output"),
    "empty line": (lambda line: [b""], "not in the job's output"),
    "broken": (lambda line: [line[:-10]], "not in the job's output"),
    "no JSON": (lambda line: [b"\x00\xff"], "not in the job's output"),
    "a list": (lambda line: [b"[]"], "not in the job's output"),
    "a depth bomb": (lambda line: [b'{"x":' + DEEP], "not in the job's output"),
    "no source": (lambda line: [changed(line, source_ref=None)], "not in the job's output"),
    "a strange source": (lambda line: [changed(line, source_ref=5)], "not in the job's output"),
    "not UTF-8": (lambda line: [line.replace(b"groundtruth/object-detection", b"\xff")], "the label cannot be read: "),
    "no label": (lambda line: [changed(line, verified=None)], "the job left no label"),
    "no metadata": (
        lambda line: [changed(line, verified_metadata=None)],
        "the label cannot be read: Expected `object`",
    ),
    "neither": (lambda line: [changed(line, verified=None, verified_metadata=None)], "the job left no label"),
    "a failure": (
        lambda line: [changed(line, verified=None, verified_metadata={"failure-reason": "ClientError: too dark"})],
        "ClientError: too dark",
    ),
    "a failure with a label": (lambda line: [changed(line, verified_metadata=failed_metadata(line))], "ClientError"),
    "another shape": (lambda line: [changed(line, verified={"annotations": 5})], "the label cannot be read: Expected"),
    "another number": (lambda line: [line.replace(b'"left":', b'"left":1e999,"x":')], "the label cannot be read: "),
    "a class without a name": (
        lambda line: [changed(line, verified_metadata={"objects": [{}], "class-map": {}})],
        "the label cannot be read: class 0 of verified has no name",
    ),
    "metadata that are none": (
        lambda line: [changed(line, verified_metadata=[])],
        "the label cannot be read: Expected `object`, got `array`",
    ),
}


@pytest.mark.parametrize(("lose", "why"), LOST.values(), ids=LOST)
def test_a_frame_without_a_verified_label_keeps_its_prelabel(
    pipeline: Pipeline, assembly: Assembly, lose: Callable[[bytes], list[bytes]], why: str
) -> None:
    jobs = answered(pipeline, assembly, lambda lines: [lines[0], *lose(lines[1]), *lines[2:]], lambda lines: [])
    publication = pipeline.publish(jobs)
    lines = dataset(pipeline)
    assert len(lines) == FRAMES
    assert [("verified" in line) for line in lines] == [True, False, True, True, True, True]
    assert lines[1]["provenance"]["labelled-by"] == "nobody"
    assert lines[1]["provenance"]["verification"] == "not in the job's output"
    failures = [json.loads(line).get("failure", "") for line in results(pipeline, jobs)]
    assert [bool(failure) for failure in failures] == [False, True, False, False]
    assert why in failures[1]
    assert (publication.verified, publication.boxes) == (FRAMES - 1, FRAMES)
    assert [o.failed for o in summary(pipeline).verification] == [1, 0]
    assert any("left 1 of 4 frames without a verified label" in note for note in summary(pipeline).notes)
    assert summary(pipeline).unverified == {"not in the job's output": 1}


def failing(*reasons: Any) -> Answers:
    """Leave a failure-reason instead of a label, for as many of the first frames."""

    def fail(lines: list[bytes]) -> list[bytes]:
        failed = [
            changed(line, verified=None, verified_metadata={"failure-reason": reason})
            for line, reason in zip(lines, reasons, strict=False)
        ]
        return [*failed, *lines[len(failed) :]]

    return fail


def test_the_reason_of_the_last_round_reaches_dataset_summary_and_report(
    pipeline: Pipeline, assembly: Assembly
) -> None:
    skipped, unreadable = "a reviewer skipped it", "annotation 7 cannot be read: <b>tilted</b> in S3"
    jobs = answered(pipeline, assembly, failing("expired", unreadable), failing(skipped, unreadable))
    pipeline.publish(jobs)
    assert [json.loads(line)["failure"] for line in results(pipeline, jobs)[:2]] == ["expired", unreadable]
    told = [line["provenance"].get("verification") for line in dataset(pipeline)]
    assert told == [skipped, unreadable, None, None, None, None]
    kind = unreadable.replace("7", "#")
    assert summary(pipeline).unverified == {skipped: 1, kind: 1}
    # Those are frames whose pre-label failed or that were rejected.
    assert summary(pipeline).reasons == {}
    page = pipeline.labels.objects[PREFIX + "report.html"].decode()
    assert skipped in page
    assert "annotation # cannot be read: &lt;b&gt;tilted&lt;/b&gt; in S3" in page


UNREADABLE: tuple[Any, ...] = ("", "\n\x00", 5, False, {}, [], json.loads("[" * 500 + "]" * 500))


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("too\ndark\t\x1b[31m\u202e for it ", "too dark [31m for it"),
        ("x" * 100_000, "x" * 500),
        *((one, "the job gave a failure-reason that cannot be read") for one in UNREADABLE),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_foreign_reason_is_one_short_line(pipeline: Pipeline, assembly: Assembly, reason: Any, told: str) -> None:
    pipeline.publish(answered(pipeline, assembly, failing(reason), failing(reason)))
    assert dataset(pipeline)[0]["provenance"]["verification"] == told
    assert summary(pipeline).unverified == {told.replace("[31m", "[#"): 1}


def test_ids_of_frames_do_not_make_reasons_distinct_and_their_number_is_bounded(pipeline: Pipeline) -> None:
    frames = MAX_REASONS + 5
    assembly = labelled(pipeline, frames, shard_frames=frames).assemble()
    numbered = failing(*(f"task {index} of job 3f-{index} ended" for index in range(frames)))
    pipeline.publish(pipeline.verify(assembly, numbered, numbered))
    assert summary(pipeline).unverified == {"task # of job # ended": frames}
    words = failing(*("ended by " + "x" * (index + 1) for index in range(frames)))
    pipeline.publish(pipeline.verify(assembly, words, words))
    assert len(summary(pipeline).unverified) == MAX_REASONS + 1
    assert summary(pipeline).unverified[OTHER_KINDS] == 5
    assert summary(pipeline).labelled_by == {"nobody": frames}
    assert "more reasons, in summary.json" in pipeline.labels.objects[PREFIX + "report.html"].decode()


def scripted(line: bytes, **review: Any) -> bytes:
    """The line as a script leaves it: its label says that no person made it."""
    made = {**json.loads(line)["verified-metadata"], "human-annotated": "no"}
    return changed(line, verified_metadata=made, review={"seconds": 1.0, "worker": "w1", **review})


def test_a_scripts_labels_are_published_and_told_apart(pipeline: Pipeline, assembly: Assembly) -> None:
    def answer(lines: list[bytes]) -> list[bytes]:
        return [scripted(lines[0]), scripted(without_boxes(lines[1])), lines[2]]

    jobs = answered(pipeline, assembly, answer, lambda lines: [])
    publication = pipeline.publish(jobs)
    lines = dataset(pipeline)
    assert [line["provenance"]["labelled-by"] for line in lines] == [
        *["script"] * 2,
        "model and person",
        "nobody",
        *["model and person"] * 2,
    ]
    assert lines[0]["verified"] == lines[0]["prelabel"]
    assert lines[0]["verified-metadata"]["human-annotated"] == "no"
    assert lines[0]["review"] == {"seconds": 1.0, "worker": "w1"}
    assert lines[0]["provenance"]["job"] == jobs[0].job
    assert (publication.verified, publication.scripted) == (3, 2)
    found = summary(pipeline)
    assert [(o.frames, o.verified, o.unadjusted, o.scripted, o.failed) for o in found.verification] == [
        (4, 1, 1, 2, 1),
        (2, 2, 2, 0, 0),
    ]
    assert any("a script made the labels of 2 of 4 frames" in note for note in found.notes)
    assert found.agreement is not None
    assert (found.agreement.shown.frames, found.agreement.pace.frames, found.agreement.searched) == (3, 3, 3)
    reviewed = [json.loads(line) for line in pipeline.labels.lines(PREFIX + "reviewed.jsonl")]
    assert [line.get("verified", False) for line in reviewed] == [False, False, True, False, True, True]
    assert not any("seconds" in line for line in reviewed[:2])
    page = pipeline.labels.objects[PREFIX + "report.html"].decode()
    assert "A script answered for 2 of 5 labelled frames." in page
    assert "labelled by a script</span>" in page


def test_a_run_that_only_a_script_answered_has_no_word_of_reviewers_changes(
    pipeline: Pipeline, assembly: Assembly
) -> None:
    def keep(lines: list[bytes]) -> list[bytes]:
        return [scripted(line) for line in lines]

    publication = pipeline.publish(pipeline.verify(assembly, keep))
    assert (publication.verified, publication.scripted) == (0, FRAMES)
    assert summary(pipeline).labelled_by == {"script": FRAMES}
    page = pipeline.labels.objects[PREFIX + "report.html"].decode()
    assert "labelled by a script, not verified by people" in page
    assert "No person looked at these frames" in page
    assert "Reviewers" not in page


@pytest.mark.parametrize("made", [None, "yes", "NO", False, 5, ["no"]])
def test_a_label_that_does_not_say_no_is_a_persons(pipeline: Pipeline, assembly: Assembly, made: Any) -> None:
    def say(lines: list[bytes]) -> list[bytes]:
        return [json.dumps(verified(json.loads(line), **{"human-annotated": made})).encode() for line in lines]

    pipeline.publish(pipeline.verify(assembly, say))
    assert summary(pipeline).labelled_by == {"model and person": FRAMES}


def test_a_script_is_no_reviewer_who_was_unsure(pipeline: Pipeline, assembly: Assembly) -> None:
    jobs = answered(pipeline, assembly, lambda lines: [scripted(lines[0], unsure=True), *lines[1:]])
    pipeline.publish(jobs)
    assert "unsure" not in dataset(pipeline)[0]["provenance"]
    assert dataset(pipeline)[0]["provenance"]["labelled-by"] == "model and person"


def test_a_second_line_of_a_frame_is_left_out_with_a_note(pipeline: Pipeline, assembly: Assembly) -> None:
    jobs = answered(pipeline, assembly, lambda lines: [*lines, lines[0], without_boxes(lines[0])])
    assert pipeline.publish(jobs).verified == FRAMES
    assert len(dataset(pipeline)) == FRAMES
    assert dataset(pipeline)[0]["verified"] == dataset(pipeline)[0]["prelabel"]
    assert any("2 lines of frames that it had labelled already" in note for note in summary(pipeline).notes)


def test_a_line_of_a_frame_of_another_job_is_left_out_with_a_note(pipeline: Pipeline, assembly: Assembly) -> None:
    foreign = f"s3://ingest/{frame_key(5)}"
    jobs = answered(
        pipeline,
        assembly,
        lambda lines: [
            changed(lines[0], source_ref="s3://x/y.png"),
            *lines,
            lines[0],
            changed(lines[1], source_ref=foreign),
        ],
    )
    pipeline.publish(jobs)
    assert [line["source-ref"] for line in dataset(pipeline)] == [f"s3://ingest/{frame_key(i)}" for i in range(FRAMES)]
    assert any("2 lines of frames that it was not given" in note for note in summary(pipeline).notes)


def test_the_output_may_have_another_order_than_the_manifest(pipeline: Pipeline, assembly: Assembly) -> None:
    jobs = answered(pipeline, assembly, lambda lines: lines[::-1])
    assert pipeline.publish(jobs).verified == FRAMES
    assert [line["source-ref"] for line in dataset(pipeline)] == [f"s3://ingest/{frame_key(i)}" for i in range(FRAMES)]


def test_a_label_with_a_class_that_the_run_lacks_is_refused(pipeline: Pipeline, assembly: Assembly) -> None:
    def invent(lines: list[bytes]) -> list[bytes]:
        return [json.dumps(verified(json.loads(lines[0]), **{"class-map": {"0": "spaceship"}})).encode(), *lines[1:]]

    pipeline.publish(answered(pipeline, assembly, invent, invent))
    assert dataset(pipeline)[0]["provenance"]["verification"] == "class 'spaceship' is not a class of the job"
    assert summary(pipeline).labelled_by == {"model and person": 5, "nobody": 1}


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ([], "the label cannot be read: Expected `array` of length >= 1 - at `$.image_size`"),
        ([{"width": 64, "height": 48}] * 2, "the label has 2 image sizes"),
        (
            [{"width": 48, "height": 64, "depth": 3}],
            "the label was drawn on an image of 48 x 64, the frame has 64 x 48",
        ),
        (
            [{"width": 128, "height": 96, "depth": 3}],
            "the label was drawn on an image of 128 x 96, the frame has 64 x 48",
        ),
    ],
)
def test_a_label_for_an_image_of_another_size_is_refused(
    pipeline: Pipeline, assembly: Assembly, size: list[Any], why: str
) -> None:
    def resize(lines: list[bytes]) -> list[bytes]:
        label = {**json.loads(lines[0])["verified"], "image_size": size}
        return [changed(lines[0], verified=label), *lines[1:]]

    pipeline.publish(answered(pipeline, assembly, resize, resize))
    assert dataset(pipeline)[0]["provenance"]["verification"] == why
    assert summary(pipeline).labelled_by == {"model and person": 5, "nobody": 1}


def test_settling_keeps_only_the_labels_of_output_lines_in_memory(pipeline: Pipeline) -> None:
    # The whole lines of 100,000 frames would take more memory than a function has.
    (job,) = labelled(pipeline, 4 * FRAMES).assemble().jobs
    frames = list(pipeline.labels.lines(pipeline.key_of(job.manifest)))
    more = 300_000

    def output() -> Iterator[bytes]:
        for line in frames:
            yield msgspec.json.encode({**verified(json.loads(line)), "more": "x" * more})

    one = JobRound(job.name, job.back_end, 1, job.manifest, job.frames, "")
    tracemalloc.start()
    try:
        settled = settle_round(one, output(), label_bucket=pipeline.labels, names=frozenset(pipeline.run.labels))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert settled.verified == 4 * FRAMES
    assert most < 2 * FRAMES * more


def test_a_triage_with_fewer_or_more_frames_stops_the_publication(pipeline: Pipeline) -> None:
    document = drive_document(verification={"policy": "doubtful"})
    jobs = pipeline.verify(labelled(pipeline, FRAMES, document=document).assemble())
    kinds = list(pipeline.labels.lines(PREFIX + "triage.jsonl"))
    for wrong in (kinds[:-1], [*kinds, kinds[0]]):
        pipeline.labels.write(PREFIX + "triage.jsonl", b"\n".join(wrong))
        with pytest.raises(CountMismatch, match="triage"):
            pipeline.publish(jobs)
    # An incomplete run leaves no evidence.
    assert not list(pipeline.labels.list("audits/"))


# Rounds


def unsure(line: bytes, **review: Any) -> bytes:
    return changed(line, review={"unsure": True, "worker": "w1", **review})


def test_a_frame_without_a_label_goes_to_a_second_round(pipeline: Pipeline, assembly: Assembly) -> None:
    jobs = answered(pipeline, assembly, lambda lines: lines[2:])
    assert [(one.frames, one.verified, one.failed) for one in jobs[0].rounds] == [(4, 2, 2), (2, 2, 0)]
    assert pipeline.publish(jobs).verified == FRAMES
    names = [line["provenance"]["job"] for line in dataset(pipeline)]
    assert names == [f"{jobs[0].job}-again"] * 2 + [jobs[0].job] * 2 + [jobs[1].job] * 2
    assert [(o.frames, o.verified, o.failed, o.rounds) for o in summary(pipeline).verification] == [
        (4, 4, 0, 2),
        (2, 2, 0, 1),
    ]
    assert summary(pipeline).notes == ()


def test_an_unsure_frame_goes_to_another_reviewer_with_its_boxes(pipeline: Pipeline, assembly: Assembly) -> None:
    shown: list[dict[str, Any]] = []

    def look(lines: list[bytes]) -> list[bytes]:
        shown.extend(json.loads(line) for line in lines)
        return lines

    def mark_unsure(lines: list[bytes]) -> list[bytes]:
        return [unsure(without_boxes(lines[0]), comment="a car?"), *lines[1:]]

    jobs = answered(pipeline, assembly, mark_unsure, look)
    assert [line["prelabel"]["annotations"] for line in shown] == [[]]
    # The comment replaces the models' uncertainty.
    assert shown[0]["doubt"] == {"level": 1.0, "boxes": [], "why": ["a reviewer was unsure: a car?"], "ghosts": []}
    assert given_line(pipeline, assembly)["doubt"] != shown[0]["doubt"]
    assert (jobs[0].rounds[0].unsure, jobs[0].rounds[0].failed) == (1, 0)
    publication = pipeline.publish(jobs)
    first = dataset(pipeline)[0]
    assert (first["verified"]["annotations"], len(first["prelabel"]["annotations"])) == ([], 1)
    assert first["provenance"]["job"] == f"{jobs[0].job}-again"
    assert first["provenance"]["unsure"] == {"worker": "w1", "comment": "a car?"}
    assert (publication.verified, summary(pipeline).notes) == (FRAMES, ())


def test_too_many_boxes_for_a_line_are_kept_but_not_shown_again(pipeline: Pipeline, assembly: Assembly) -> None:
    shown: list[dict[str, Any]] = []

    def crowd(lines: list[bytes]) -> list[bytes]:
        line = json.loads(lines[0])
        line["verified"]["annotations"] *= 400
        line["verified-metadata"]["objects"] *= 400
        return [unsure(json.dumps(line).encode()), *lines[1:]]

    def look(lines: list[bytes]) -> list[bytes]:
        shown.extend(json.loads(line) for line in lines)
        return []

    pipeline.publish(answered(pipeline, assembly, crowd, look))
    assert [len(line["prelabel"]["annotations"]) for line in shown] == [1]
    assert len(dataset(pipeline)[0]["verified"]["annotations"]) == 400


def test_the_first_rounds_label_counts_if_the_second_leaves_none(pipeline: Pipeline, assembly: Assembly) -> None:
    jobs = answered(pipeline, assembly, lambda lines: [unsure(lines[0]), *lines[1:]], lambda lines: [])
    pipeline.publish(jobs)
    assert dataset(pipeline)[0]["provenance"]["job"] == jobs[0].job
    assert dataset(pipeline)[0]["review"]["unsure"] is True
    assert any("reviewers are unsure of 1 of 4 frames" in note for note in summary(pipeline).notes)


def test_there_is_no_third_round(pipeline: Pipeline, assembly: Assembly) -> None:
    jobs = answered(pipeline, assembly, lambda lines: [], lambda lines: [])
    assert [one.failed for one in jobs[0].rounds] == [4, 4]
    assert jobs[0].rounds[1].again is None


def test_settling_a_round_twice_writes_the_same(pipeline: Pipeline, assembly: Assembly) -> None:
    first = answered(pipeline, assembly, lambda lines: lines[1:])
    before = dict(pipeline.labels.objects)
    assert answered(pipeline, assembly, lambda lines: lines[1:]) == first
    assert pipeline.labels.objects == before


@pytest.mark.parametrize("review", [5, {"unsure": "yes"}, {"seconds": "long"}, []])
def test_a_review_of_another_shape_is_dropped_and_the_label_kept(
    pipeline: Pipeline, assembly: Assembly, review: Any
) -> None:
    pipeline.publish(answered(pipeline, assembly, lambda lines: [changed(lines[0], review=review), *lines[1:]]))
    assert "review" not in dataset(pipeline)[0]
    assert "verified" in dataset(pipeline)[0]


def test_a_summary_that_is_read_and_written_stays_the_same(pipeline: Pipeline, jobs: list[FinishedJob]) -> None:
    pipeline.publish(jobs)
    found = json.loads(pipeline.labels.objects[PREFIX + "summary.json"])
    assert found["frames"] == {"uploaded": 6, "labelled": 6, "failed": 0, "rejected": 0}
    assert msgspec.json.encode(summary(pipeline)) == msgspec.json.encode(msgspec.convert(found, Summary))


def test_a_run_that_the_first_linker_linked_keeps_the_models_boxes_and_gets_its_ids(pipeline: Pipeline) -> None:
    labelled(pipeline, FRAMES, shard_frames=2)
    for key in [key for key in pipeline.labels.objects if ".linked." in key]:
        del pipeline.labels.objects[key]
    pipeline.labels.write(PREFIX + "links.json", b'{"version":"1","cameras":{"front":{"rate":10.0,"tracks":1}}}')
    for shard in range(FRAMES // 2):
        pipeline.labels.write(PREFIX + f"shards/{shard:06d}.tracks.jsonl", b'["0123456789ab"]\n' * 2)
    assembly = pipeline.assemble()
    assert "prelabel-tracks" not in given_line(pipeline, assembly)
    pipeline.publish(pipeline.verify(assembly))
    assert [line["tracks"] for line in dataset(pipeline)] == [["0123456789ab"]] * FRAMES
    assert [line["origins"] for line in dataset(pipeline)] == [["model"]] * FRAMES
