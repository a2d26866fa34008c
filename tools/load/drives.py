"""Uploads drives of tiny frames at once, waits for them and counts their frames."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from autolabel.contracts.drive import FIRST_RUN, execution_name
from autolabel.contracts.logs import LogDocument
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import ANSWERS
from autolabel.drives.listing import read_listing
from autolabel_cli.drives.recordings import RecordedFrame
from autolabel_cli.drives.run_progress import ENDED, RunView, StateTime
from autolabel_cli.drives.uploads import close_drive, document_of, upload_frames
from autolabel_cli.stack import Stack

CAMERA = "front"
_START, _STEP = 1_700_000_000_000_000_000, 100_000_000
_LOOK_SECONDS = 1.0


def upload_drives(stack: Stack, drives: Sequence[str], frames: int) -> None:
    """Upload and close all drives at once."""
    with ThreadPoolExecutor(len(drives)) as pool:
        list(pool.map(lambda drive: _upload(stack, drive, frames), drives))


def _upload(stack: Stack, drive: str, frames: int) -> None:
    counts = upload_frames(stack, drive, CAMERA, _frames(frames), lambda _: None)
    close_drive(stack, drive, document_of(LogDocument("load"), counts))


def _frames(count: int) -> Iterator[RecordedFrame]:
    for index in range(count):
        body = io.BytesIO()
        Image.new("RGB", (64, 36), (index % 256, index // 256 % 256, 90)).save(body, "PNG")
        yield RecordedFrame(_START + index * _STEP, "png", body.getvalue())


def await_ends(stack: Stack, drives: Sequence[str], within: float) -> dict[str, str]:
    """The status of each drive's execution, as soon as all have ended or `within` seconds are over."""
    states, deadline = stack.client("stepfunctions"), time.monotonic() + within
    machine = stack.outputs["StateMachineArn"]
    names = {execution_name(drive, FIRST_RUN): drive for drive in drives}
    while True:
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=machine)
        statuses = {names[e["name"]]: e["status"] for page in pages for e in page["executions"] if e["name"] in names}
        ended = [status for status in statuses.values() if status in ENDED]
        if len(ended) == len(drives) or time.monotonic() > deadline:
            return {drive: statuses.get(drive, "not started") for drive in drives}
        # Each look costs the measured cloud some work.
        time.sleep(_LOOK_SECONDS)


@dataclass(frozen=True)
class Count:
    """Counts of a drive's frames.

    `lost`: uploaded and not listed, or neither in the dataset nor rejected. `doubled`: twice in one of them, or in
    both. `answers`: objects in S3; more answers than frames are repeated work.
    """

    drive: str
    listed: int
    labelled: int
    rejected: int
    lost: int
    doubled: int
    answers: int
    jobs: int
    pending: bool
    states: tuple[StateTime, ...]

    @property
    def is_right(self) -> bool:
        """Whether every frame is there exactly once, in one job, and no unit is still pending."""
        whole = self.listed == self.labelled + self.rejected
        return whole and self.jobs == 1 and not (self.lost or self.doubled or self.pending)


def count_frames(stack: Stack, drive: str, frames: int) -> Count:
    """Compare the drive's listing, dataset and rejected frames with the uploaded frames."""
    uploaded = {f"drives/{drive}/{CAMERA}/{_START + i * _STEP}.png" for i in range(frames)}
    folder, prefix = RunFolder(drive, FIRST_RUN), stack.ingest.uri("")
    listed = [line.key for line in read_listing(stack.labels, folder)]
    labelled = [json.loads(line)["source-ref"].removeprefix(prefix) for line in stack.labels.lines(folder.dataset)]
    rejected = [json.loads(line)["key"] for line in stack.labels.lines(folder.rejected)]
    ends = Counter(labelled + rejected)
    jobs = stack.client("sagemaker").get_paginator("list_labeling_jobs").paginate(NameContains=f"{drive}-")
    return Count(
        drive=drive,
        listed=len(listed),
        labelled=len(labelled),
        rejected=len(rejected),
        lost=len(uploaded - set(listed)) + len(uploaded - ends.keys()),
        doubled=sum(count - 1 for count in (*ends.values(), *Counter(listed).values())),
        answers=sum(1 for _ in stack.labels.list(f"{ANSWERS}/{drive}/")),
        jobs=sum(len(page["LabelingJobSummaryList"]) for page in jobs),
        pending=stack.ledger.any_pending(drive, stack.ledger.run(drive, FIRST_RUN).models),
        states=tuple(RunView(stack, drive, FIRST_RUN).states()),
    )
