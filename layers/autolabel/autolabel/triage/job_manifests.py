"""Writes the manifests of verification jobs.

A job has one number of reviewers, so the frames of a share that gets several have jobs of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec

from autolabel.contracts.drive import Run
from autolabel.contracts.job_manifest import JobManifest
from autolabel.contracts.ports import Bucket
from autolabel.contracts.verification import reviewers_of


class _Source(msgspec.Struct, rename={"source_ref": "source-ref"}):
    source_ref: str


def write_manifests(
    run: Run,
    group: int,
    lines: Callable[[], Iterable[bytes]],
    first: int,
    last: int,
    label_bucket: Bucket,
    reviewers: Callable[[str], int] | None = None,
) -> Iterator[JobManifest]:
    """Write a group of lines as the manifest of one job, or of two where a share of the frames gets several reviewers.

    `group`: its number in the run. `lines`: opens the lines, each with its line feed; `first` and `last`: the indexes
    of their shards. `reviewers`: how many a frame gets, by its S3 URI; by the policy if None. A repeated call writes
    the same.
    """
    policy = run.document.verification
    is_shared = policy.reviewers > 1 and policy.reviewers_share < 1
    source = msgspec.json.Decoder(_Source)
    reviewers_of_frame = reviewers or partial(reviewers_of, policy)
    for half, asked in enumerate((1, policy.reviewers) if is_shared else (policy.reviewers,)):
        index = 2 * group + half if is_shared else group
        key, frames = run.folder.job_manifest(index), 0

        def chosen(asked: int = asked) -> Iterator[bytes]:
            nonlocal frames
            for body in lines():
                if not is_shared or reviewers_of_frame(source.decode(body).source_ref) == asked:
                    frames += 1
                    yield body

        label_bucket.write_stream(key, chosen(), "application/jsonl")
        if frames:
            yield JobManifest(key, frames, (), first, last, index, asked)
