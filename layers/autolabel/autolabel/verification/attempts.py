"""Attempts of a job's round: what reviewers answered is taken in, once.

A round's first attempt gets the round's manifest. If its job was stopped or failed, the next attempt gets a manifest of
the frames that are still open, in the same order and with the same lines, so a blind audit stays blind. Settling the
round joins all attempts.

A job of tracks has one reviewer for a strip: the developer guide (sms-video-object-tracking) wants the number of
workers to be 1. So each of several reviewers of strips has an attempt, and a frame is open until as many have answered
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import msgspec

from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import BOXES, TRACKS, JobTask
from autolabel.verification.jobs import JobRound
from autolabel.verification.sequences import count_sequences
from autolabel.verification.settlement import read_results, settle_answered

# How long to wait for the answers that the back-end has counted (StopLabelingJob places them "possibly minutes later").
PATIENCE_SECONDS = 600.0

# Reads the back-end's output lines of a job that was given the lines of a manifest.
Answers: TypeAlias = Callable[[JobRound, Callable[[], Iterable[bytes]]], Iterable[bytes]]


class JobAttempt(msgspec.Struct, frozen=True):
    """An attempt whose job has ended without being complete, or one of several reviewers.

    `job`: its name in the back-end; `attempt`: counted from 1. S3 URIs: `manifest` of the round, `given` of what
    the job got, `output` of the output manifest, if the back-end names one. `labelled`: the number of frames with
    a label, of tracks sequences, as the back-end counts them; `waited`: the seconds since it ended. `reviewers`: how
    many label each frame; `completed`: whether the job ended well, so that it asks for none of its frames again.
    """

    job: str
    back_end: str
    round: int
    manifest: str
    given: str
    attempt: int
    labelled: int = 0
    waited: float = 0.0
    output: str = ""
    task: JobTask = BOXES
    reviewers: int = 1
    completed: bool = False


class Taken(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answers of an attempt. `waiting`: not all that the back-end counted are there; ask again in a minute.

    `results`: S3 URI of a line for each answered frame. `answered`: frames of the attempt; `open`: frames of the round
    that still lack an answer. `manifest`: the S3 URI of the next attempt's lines. `missing`: labels that the back-end
    counted and that did not come.
    """

    waiting: bool = False
    results: str = ""
    answered: int = 0
    open: int = 0
    manifest: str = ""
    missing: int = 0


class _Gap(msgspec.Struct, frozen=True):
    """What an attempt's answers lack; written after them, so they are whole if it is there."""

    missing: int


def attempt_manifest(manifest: str, attempt: int) -> str:
    """Return the key or S3 URI of an attempt's manifest; `manifest`: that of the round."""
    return manifest if attempt == 1 else f"{manifest.removesuffix('.manifest')}.attempt-{attempt}.manifest"


def attempt_results(manifest: str, attempt: int) -> str:
    """Return the key or S3 URI of an attempt's results; `manifest`: that of the round."""
    return f"{manifest.removesuffix('.manifest')}.attempt-{attempt}.results.jsonl"


def take_attempt(one: JobAttempt, answers: Answers, *, label_bucket: Bucket, names: frozenset[str]) -> Taken:
    """Take in the answers of an attempt, and write the manifest of the next one. A repeated call takes in no more.

    `names`: the classes that a label may have.
    """
    missing = take_answers(one, answers, label_bucket=label_bucket, names=names)
    if missing is None:
        return Taken(waiting=True)
    results = [attempt_results(one.manifest, attempt) for attempt in range(1, one.attempt + 1)]
    answers_of = Counter[str]()
    for uri in results:
        own = [result.source_ref for result in read_results(label_bucket, uri)]
        answers_of.update(own)
    following = attempt_manifest(one.manifest, one.attempt + 1)
    # In a job of boxes, Ground Truth itself asks several reviewers.
    counts = _OpenFrames(answers_of, one.reviewers if one.task == TRACKS else 1)
    lines = counts.lines(label_bucket.lines(_key(one.manifest, label_bucket)))
    label_bucket.write_stream(_key(following, label_bucket), lines, "application/jsonl")
    return Taken(results=results[-1], answered=len(own), open=counts.open, manifest=following, missing=missing)


def take_answers(one: JobAttempt, answers: Answers, *, label_bucket: Bucket, names: frozenset[str]) -> int | None:
    """Write the results of an attempt, once, and return the number of labels that the back-end counted and that did
    not come; None while it is worth to wait for them.

    A frame whose answer gives no label is answered too: it goes to the second round.
    """
    results = _key(attempt_results(one.manifest, one.attempt), label_bucket)
    gap = f"{results.removesuffix('.results.jsonl')}.taken.json"
    if (taken := label_bucket.read(gap)) is not None:
        return msgspec.json.decode(taken, type=_Gap).missing
    job = JobRound(one.job, one.back_end, one.round, one.given, 0, one.output, one.task)
    output = answers(job, lambda: label_bucket.lines(_key(one.given, label_bucket)))
    found = settle_answered(job, output, label_bucket=label_bucket, names=names, all_frames=one.completed)
    missing = 0
    if one.labelled:
        # Ground Truth counts what it gave to reviewers, of tracks the sequences.
        came = count_sequences(one.given, found.labelled, label_bucket) if one.task == TRACKS else len(found.labelled)
        missing = max(0, one.labelled - came)
    if missing and one.waited < PATIENCE_SECONDS:
        return None
    encoded = (msgspec.json.encode(result) + b"\n" for result in found.results)
    label_bucket.write_stream(results, encoded, "application/jsonl", once=True)
    label_bucket.write_once(gap, msgspec.json.encode(_Gap(missing)))
    # Another call may have been the first.
    return msgspec.json.decode(label_bucket.read(gap) or b"{}", type=_Gap).missing


def _key(uri: str, label_bucket: Bucket) -> str:
    return uri.removeprefix(label_bucket.uri(""))


class _OpenFrames:
    """Chooses the lines of frames with fewer answers than reviewers, and counts them."""

    def __init__(self, answers_of: Mapping[str, int], reviewers: int) -> None:
        self._answers_of = answers_of
        self._reviewers = reviewers
        self.open = 0

    def lines(self, manifest: Iterable[bytes]) -> Iterator[bytes]:
        decoder = msgspec.json.Decoder(_Source)
        for body in manifest:
            if self._answers_of.get(decoder.decode(body).source_ref, 0) < self._reviewers:
                self.open += 1
                yield body + b"\n"


class _Source(msgspec.Struct, rename={"source_ref": "source-ref"}):
    source_ref: str
