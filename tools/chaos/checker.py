"""Checks that the runs of a drive lost and doubled nothing, from the objects in the buckets and Ground Truth's jobs.

It takes no result for true that the pipeline reports: what reviewers answered is in the responses of the jobs.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autolabel.contracts.drive import execution_name
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import ACCEPTED, AGAIN, AUDIT, BLIND_AUDIT, KEPT
from autolabel.verification.jobs import ATTRIBUTES
from autolabel.verification.sequences import SEQUENCES, frames_manifest
from tools.chaos.log_checker import LogEvidence, gather_logs, log_problems
from tools.chaos.log_fleet import SentLog
from tools.chaos.operators import ENDED
from tools.chaos.stage import Stage

Json = dict[str, Any]
# A key of the ingest bucket and an ETag: a label belongs to the bytes of a frame.
Frame = tuple[str, str]
# The boxes of a label as text, in an order of their own.
Label = tuple[str, ...]
# An object in an answered strip: its box, as text, in each frame.
Tracked = dict[Frame, str]

_ROUND = re.compile(r"verify-[0-9]+(-again)?\.manifest")
_ATTEMPT = re.compile(r"\.attempt-[0-9]+\.manifest$")
_ENDED_JOBS = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class Job:
    """A labelling job. `round`: the key of its round's manifest; `frames`: those of the attempt's manifest.

    strips: the frames of each task that reviewers get; one frame, unless they verify tracks. answers: what reviewers
    left. failures: frames that the output manifest gives a failure of. objects: of the answered strips.
    """

    name: str
    run: str
    round: str
    status: str
    frames: tuple[Frame, ...]
    answers: dict[Frame, Label] = field(default_factory=dict)
    failures: frozenset[Frame] = frozenset()
    strips: tuple[tuple[Frame, ...], ...] = ()
    objects: tuple[Tracked, ...] = ()

    @property
    def done(self) -> tuple[Frame, ...]:
        """The frames that need no other job of the round."""
        return self.frames if self.status == "Completed" else tuple({*self.answers, *self.failures})


@dataclass(frozen=True)
class SeededBox:
    """A seeded error: the box that reviewers saw, and the models' box, as text; empty if there is none."""

    shown: str
    right: str

    def is_left(self, label: Label) -> bool:
        """Whether a reviewer who left this label missed it; annotators here keep a box exactly or delete it."""
        return self.shown in label if self.shown else self.right not in label

    def taken_out_of(self, label: Label) -> Label:
        """The label without it."""
        if not self.is_left(label):
            return label
        boxes = [box for box in label if box != self.shown]
        return tuple(sorted([*boxes, self.right] if self.right else boxes))


@dataclass(frozen=True)
class Evidence:
    """The state of buckets, ledger, jobs and executions after a drive. Keys are of the ingest bucket.

    versions: every frame that was ever put into the ingest bucket. promised: keys that the fleet put before it closed
    the drive. runs: the number of runs that the drive must have. executions: (name, status), the oldest first. jobs:
    those of all runs, the oldest first. kinds: frame kinds by run, where the run has written them. waiting: task tokens
    still stored. seeds: the seeded errors by run. logs: of a drive of logs.

    Of the last run: labels: the labels of its dataset; tracks: the ids of their boxes, in a drive of tracks. spared:
    keys of frames that go to no reviewer, by their kind. rounds: the frames of the manifests of its rounds. unasked:
    keys of failed frames whose unit has neither an answer nor a failure. pending: keys of listed units that are still
    pending.
    """

    drive: str
    versions: frozenset[Frame]
    promised: frozenset[str]
    listing: list[Json]
    manifest: list[str]
    rejected: list[str]
    failed: list[str]
    dataset: list[str]
    summary: Json
    executions: list[tuple[str, str]]
    runs: int = 1
    jobs: list[Job] = field(default_factory=list)
    kinds: dict[str, dict[Frame, str]] = field(default_factory=dict)
    labels: dict[Frame, Label] = field(default_factory=dict)
    tracks: dict[Frame, dict[str, str]] = field(default_factory=dict)
    spared: list[str] = field(default_factory=list)
    rounds: dict[str, list[Frame]] = field(default_factory=dict)
    unasked: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    waiting: int = 0
    seeds: dict[str, dict[Frame, SeededBox]] = field(default_factory=dict)
    logs: LogEvidence | None = None

    def seed(self, job: Job, frame: Frame) -> SeededBox | None:
        """The seeded error that a job showed in a frame: a second round shows none."""
        return None if _is_second(job) else self.seeds.get(job.run, {}).get(frame)


@dataclass(frozen=True)
class Verdict:
    """`frames`: objects in the frozen listing; `lost`, `doubled`: their keys; `problems`: all other faults found."""

    frames: int
    lost: list[str]
    doubled: list[str]
    problems: list[str]

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.problems)


def judge(evidence: Evidence) -> Verdict:
    """Check the promise: each frame of the last listing is in exactly one place, and nothing else is wrong."""
    listed = [line["key"] for line in evidence.listing]
    placed = Counter(evidence.manifest) + Counter(evidence.spared)
    ended = placed + Counter(evidence.rejected)
    dataset = Counter(evidence.dataset)
    lost = sorted(evidence.promised - set(listed))
    lost += sorted(set(listed) - set(ended)) + sorted(set(placed) - set(dataset))
    doubled = [key for counts in (Counter(listed), ended, dataset) for key, count in counts.items() if count > 1]
    problems = [*_problems(evidence, set(listed), placed, ended), *_lost_answers(evidence), *_asked_twice(evidence)]
    problems += _broken_tracks(evidence)
    if evidence.logs:
        problems += log_problems(evidence.logs)
    return Verdict(len(listed), lost, doubled, problems)


def _problems(evidence: Evidence, listed: set[str], placed: Counter[str], ended: Counter[str]) -> list[str]:
    problems = []

    def expect(truth: bool, otherwise: str) -> None:
        if not truth:
            problems.append(otherwise)

    for line in evidence.listing:
        known = (line["key"], line["etag"]) in evidence.versions
        expect(known, f"the listing has {line['key']} with an ETag that was never put")
    expect(set(ended) <= listed, f"lines of frames that are not listed: {sorted(set(ended) - listed)}")
    expect(set(evidence.dataset) <= set(placed), "the dataset has frames that are in no other place")
    expect(set(evidence.failed) <= set(placed), "a failed frame is in no place")
    frames = evidence.summary.get("frames", {})
    counted = {
        "uploaded": len(evidence.listing),
        "labelled": placed.total() - len(evidence.failed),
        "failed": len(evidence.failed),
        "rejected": len(evidence.rejected),
    }
    expect(frames == counted, f"the summary counts {frames}, but there are {counted}")
    names = [execution_name(evidence.drive, f"{run:04d}") for run in range(1, evidence.runs + 1)]
    statuses = [status for _, status in evidence.executions]
    ended_well = statuses[-1:] == ["SUCCEEDED"] and set(statuses) <= ENDED
    expect([name for name, _ in evidence.executions] == names and ended_well, f"executions: {evidence.executions}")
    open_jobs = [f"{job.name} {job.status}" for job in evidence.jobs if job.status not in _ENDED_JOBS]
    expect(not open_jobs, f"labelling jobs that reviewers still work on: {open_jobs}")
    for job in evidence.jobs:
        shown = Counter(frame for strip in job.strips for frame in strip)
        expect(shown == Counter(job.frames), f"the strips of {job.name} have {sorted(shown.elements())}")
    for key, wanted in evidence.rounds.items():
        found = Counter(frame for job in evidence.jobs if job.round == key for frame in job.done)
        expect(found == Counter(wanted), f"the labelling jobs of {key} end {sorted(found.elements())}, not {wanted}")
    expect(not evidence.unasked, f"the run went on too early: {evidence.unasked} had no answer")
    expect(not evidence.pending, f"units are still pending after the end: {evidence.pending}")
    expect(not evidence.waiting, f"{evidence.waiting} task tokens are still stored after the end")
    return problems


def _lost_answers(evidence: Evidence) -> Iterator[str]:
    """Find frames whose label in the last dataset is not what a reviewer has answered last, without a seeded error."""
    counting = {(line["key"], line["etag"]) for line in evidence.listing if line["key"] not in evidence.rejected}
    newest: dict[Frame, tuple[str, Label]] = {}
    for job in evidence.jobs:
        for frame, label in job.answers.items():
            seed = evidence.seed(job, frame)
            newest[frame] = job.name, seed.taken_out_of(label) if seed else label
    for frame, (job_name, label) in newest.items():
        if frame in counting and evidence.labels.get(frame) != label:
            yield f"the answer to {frame[0]} in {job_name} is lost: the label is {evidence.labels.get(frame)}"
    for frame, label in evidence.labels.items():
        if any(seeds[frame].shown in label for seeds in evidence.seeds.values() if frame in seeds):
            yield f"a seeded error of {frame[0]} is published"


def _broken_tracks(evidence: Evidence) -> Iterator[str]:
    """Find objects of an answered strip that have no id, or several, in the frames where this answer counts.

    Frames with a seeded error are left out: settling may have changed their boxes.
    """
    newest = {frame: job.name for job in evidence.jobs for frame in job.answers}
    for job in evidence.jobs:
        for tracked in job.objects:
            counting = {
                f: box
                for f, box in tracked.items()
                if newest[f] == job.name and f in evidence.tracks and not evidence.seed(job, f)
            }
            ids = {evidence.tracks[frame].get(box, "") for frame, box in counting.items()}
            if len(ids) > 1 or "" in ids:
                yield f"the object {counting} of {job.name} has the ids {sorted(ids)}"


def _asked_twice(evidence: Evidence) -> Iterator[str]:
    """Find frames that a job was given although an earlier job had an answer, against the rules."""
    answered: dict[Frame, list[Job]] = {}
    for job in evidence.jobs:
        for frame in job.frames:
            for earlier in answered.get(frame, ()):
                seed = evidence.seed(earlier, frame)
                missed = seed is not None and seed.is_left(earlier.answers[frame])
                if not _may_ask_again(job, earlier, evidence.kinds.get(job.run, {}).get(frame, ""), missed):
                    yield f"{job.name} asks for {frame[0]}, which was answered in {earlier.name}"
        for frame in job.answers:
            answered.setdefault(frame, []).append(job)


def _may_ask_again(job: Job, earlier: Job, kind: str, missed: bool) -> bool:
    """Whether a job may ask for a frame that was answered in an earlier one; `kind`: of the frame in the job's run.

    A second round has answered frames only if a seeded error was `missed`: the annotator is never unsure, and its
    answers break no rule.
    """
    if job.run == earlier.run:
        return missed and _is_second(job)
    return job.run != earlier.run and kind in (AGAIN, AUDIT, BLIND_AUDIT)


def _is_second(job: Job) -> bool:
    return "-again" in job.round


def gather(stage: Stage, drive: str, promised: frozenset[str], runs: int = 1, sent: Sequence[SentLog] = ()) -> Evidence:
    """Collect the evidence of a drive with this number of runs. `sent`: the logs that the fleet put."""
    evidence = _Gatherer(stage, drive).gather(promised, runs)
    return replace(evidence, logs=gather_logs(stage, drive, sent)) if sent else evidence


class _Gatherer:
    def __init__(self, stage: Stage, drive: str) -> None:
        self._stage = stage
        self._drive = drive
        self._s3 = stage.client("s3")
        self._ingest, self._labels = stage.stack.ingest.name, stage.stack.labels.name

    def gather(self, promised: frozenset[str], runs: int) -> Evidence:
        stage, drive = self._stage, self._drive
        folders = [RunFolder(drive, f"{number:04d}") for number in range(1, runs + 1)]
        run = folders[-1]
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._ingest, Prefix=f"drives/{drive}/")
        versions = frozenset((v["Key"], v["ETag"].strip('"')) for page in pages for v in page.get("Versions", []))
        listing = self._lines(run.listing)
        rounds = {
            key: [self._frame(line) for line in self._lines(key)]
            for key in self._keys(run.manifests)
            if _ROUND.fullmatch(key.removeprefix(run.manifests))
        }
        seen = [line for key in self._shard_parts(run, "detections") for line in self._lines(key)]
        kinds = {one.run: list(self._kinds(one)) for one in folders}
        dataset = self._lines(run.dataset)
        pending = pending_keys(stage, drive)
        return Evidence(
            drive=drive,
            versions=versions,
            promised=promised,
            listing=listing,
            # A second round has frames of the first one.
            manifest=[key for name, given in rounds.items() if "-again" not in name for key, _ in given],
            rejected=[line["key"] for line in self._lines(run.rejected)],
            failed=[line["key"] for line in self._lines(run.failed)],
            dataset=[self._frame(line)[0] for line in dataset],
            summary=json.loads(self._read(run.summary) or b"{}"),
            executions=sorted(executions(stage, drive)),
            runs=runs,
            jobs=self._jobs(),
            kinds={name: dict(found) for name, found in kinds.items()},
            labels={self._frame(line): _label_of(line) for line in dataset},
            tracks={self._frame(line): _ids_of(line) for line in dataset if line.get("verified")},
            spared=[key for (key, _), kind in kinds[run.run] if kind in (KEPT, ACCEPTED)],
            rounds=rounds,
            unasked=[x["key"] for x in seen if any(why.endswith(": no answer") for why in x["failed"].values())],
            # Objects that the listing refused are not units of the run: it does not wait for them.
            pending=sorted(k for k, _ in pending & {(x["key"], x["etag"]) for x in listing if not x.get("refused")}),
            seeds={one.run: dict(self._seeds(one)) for one in folders},
            waiting=len(stage.stack.ledger.waiting_runs(drive)),
        )

    def _kinds(self, run: RunFolder) -> Iterator[tuple[Frame, str]]:
        """The kinds of a run's frames: its lines are in the order of the shards."""
        lines = [line for key in self._shard_parts(run, "manifest") for line in self._lines(key)]
        kinds = [json.loads(line) for line in self._read(run.triage).splitlines()]
        return zip(map(self._frame, lines), kinds, strict=False)

    def _seeds(self, run: RunFolder) -> Iterator[tuple[Frame, SeededBox]]:
        """The seeded errors in a run's manifests: its criteria name them."""
        name = json.loads(self._read(run.acceptance_criteria) or b"{}").get("seeds")
        frames = {
            line["source-ref"]: self._frame(line) for key in self._keys(run.manifests) for line in self._given(key)
        }
        for seed in self._lines(run.seeds(name)) if name else ():
            shown, right = (
                " ".join([box[1], *map(str, box[2:6])]) if box else "" for box in (seed["shown"], seed["right"])
            )
            yield frames[seed["source-ref"]], SeededBox(shown, right)

    def _given(self, key: str) -> list[Json]:
        return self._lines(key) if key.endswith(".manifest") and frames_manifest(key) == key else []

    def _shard_parts(self, run: RunFolder, part: str) -> list[str]:
        """The keys of a part of all shards, as labelling left it: Link writes some parts again, under other names."""
        return [
            key for key in self._keys(run.shards) if key.removeprefix(run.shards).partition(".")[2] == f"{part}.jsonl"
        ]

    def _jobs(self) -> list[Job]:
        """The labelling jobs of all runs, the oldest first."""
        prefix = f"s3://{self._labels}/labels/{self._drive}/"
        pages = self._stage.client("sagemaker").get_paginator("list_labeling_jobs").paginate(SortOrder="Ascending")
        summaries = [one for page in pages for one in page["LabelingJobSummaryList"]]
        found = [
            (one["LabelingJobName"], one["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"], one)
            for one in summaries
        ]
        return [
            self._job(name, uri.removeprefix(f"s3://{self._labels}/"), one["LabelingJobStatus"])
            for name, uri, one in found
            if uri.startswith(prefix)
        ]

    def _job(self, name: str, given: str, status: str) -> Job:
        run = RunFolder(self._drive, given.split("/")[2])
        folder = f"{run.prefix}verification/{name}/"
        manifest = frames_manifest(given)
        lines = self._lines(manifest)
        frames = tuple(map(self._frame, lines))
        strips: tuple[tuple[Frame, ...], ...] = tuple((frame,) for frame in frames)
        if given.endswith(SEQUENCES):
            shown = {line["review-ref"]: self._frame(line) for line in lines}
            strips = tuple(self._strip(line["source-ref"], shown) for line in self._lines(given))
        responses = f"{folder}annotations/worker-response/iteration-1/"
        answers: dict[Frame, Label] = {}
        objects: list[Tracked] = []
        for key in self._keys(responses):
            strip = strips[int(key.removeprefix(responses).partition("/")[0])]
            content = json.loads(self._read(key))["answers"][-1]["answerContent"]
            if given.endswith(SEQUENCES):
                labels, tracked = self._tracks(content, strip, run)
                answers |= labels
                objects += tracked
            else:
                answers[strip[0]] = _label((box["label"], box) for box in content["boundingBox"]["boundingBoxes"])
        # The output manifest has a line for each task, in their order.
        output = zip(strips, self._lines(f"{folder}manifests/output/output.manifest"), strict=False)
        failures = frozenset(frame for strip, line in output if _has_failed(line) for frame in strip)
        round_ = _ATTEMPT.sub(".manifest", manifest)
        return Job(name, run.run, round_, status, frames, answers, failures, strips, tuple(objects))

    def _strip(self, uri: str, shown: dict[str, Frame]) -> tuple[Frame, ...]:
        """The frames of a sequence file. `shown`: the job's frames by the S3 URIs of what reviewers see."""
        sequence = json.loads(self._read(uri.removeprefix(f"s3://{self._labels}/")))
        uris = [sequence["prefix"] + frame["frame"] for frame in sequence["frames"]]
        return tuple(shown.get(one, (one, "")) for one in uris)

    def _tracks(
        self, content: Json, strip: tuple[Frame, ...], run: RunFolder
    ) -> tuple[dict[Frame, Label], list[Tracked]]:
        """The labels of an answered strip's frames, and its objects. A frame that a SeqLabel does not list is empty."""
        classes = [one["label"] for one in json.loads(self._read(run.label_categories))["labels"]]
        listed = {one["frame"]: one["annotations"] for one in content["tracking-annotations"]}
        labels, objects = {}, defaultdict[str, Tracked](dict)
        for frame in strip:
            boxes = listed.get(frame[0].rpartition("/")[2], [])
            texts = [_text(classes[int(box["class-id"])], box) for box in boxes]
            labels[frame] = tuple(sorted(texts))
            for box, text in zip(boxes, texts, strict=True):
                objects[box["object-id"]][frame] = text
        return labels, list(objects.values())

    def _frame(self, line: Json) -> Frame:
        return line["source-ref"].removeprefix(f"s3://{self._ingest}/"), line["provenance"]["etag"]

    def _read(self, key: str) -> bytes:
        """An object of the label bucket; empty when there is none, which the verdict shows as loss."""
        try:
            body: bytes = self._s3.get_object(Bucket=self._labels, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return b""
        return body

    def _lines(self, key: str) -> list[Json]:
        return [json.loads(line) for line in self._read(key).splitlines()]

    def _keys(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._labels, Prefix=prefix)
        return [thing["Key"] for page in pages for thing in page.get("Contents", [])]


def _has_failed(line: Json) -> bool:
    return any("failure-reason" in line.get(f"{name}-metadata", {}) for name in ATTRIBUTES.values())


def _label_of(line: Json) -> Label:
    """The verified label of a dataset's line; empty if it has none."""
    return tuple(sorted(_boxes_of(line)))


def _ids_of(line: Json) -> dict[str, str]:
    """The ids of the tracks of a verified label's boxes."""
    return dict(zip(_boxes_of(line), line.get("tracks", ()), strict=False))


def _boxes_of(line: Json) -> list[str]:
    if not line.get("verified"):
        return []
    names = line["verified-metadata"]["class-map"]
    return [_text(names[str(box["class_id"])], box) for box in line["verified"]["annotations"]]


def _label(boxes: Iterable[tuple[str, Json]]) -> Label:
    return tuple(sorted(_text(name, box) for name, box in boxes))


def _text(name: str, box: Json) -> str:
    return " ".join([name, *(f"{box[side]:g}" for side in ("left", "top", "width", "height"))])


def executions(stage: Stage, drive: str) -> list[tuple[str, str]]:
    """All executions of a drive, as (name, status)."""
    machine = stage.stack.outputs["StateMachineArn"]
    pages = stage.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=machine)
    found = [execution for page in pages for execution in page["executions"]]
    return [(e["name"], e["status"]) for e in found if e["name"].startswith(f"{drive}-")]


def pending_keys(stage: Stage, drive: str) -> set[tuple[str, str]]:
    """(key, ETag) of every pending unit of a drive, scanned from the table."""
    pages = (
        stage.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stage.stack.outputs["LedgerName"],
            ConsistentRead=True,
            FilterExpression="begins_with(pk, :pk)",
            ExpressionAttributeValues={":pk": {"S": f"pending#{drive}#"}},
        )
    )
    return {(item["key"]["S"], item["etag"]["S"]) for page in pages for item in page["Items"]}
