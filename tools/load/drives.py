"""Drives of tiny frames: uploaded at once, waited for, and counted."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from autolabel.contracts.drive import FIRST_RUN, execution_name
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.units import ANSWERS
from autolabel.drives.listing import read_listing
from autolabel.reporting.summary import dataset_key, rejected_key
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
    count = upload_frames(stack, drive, CAMERA, _frames(frames), lambda _: None)
    close_drive(stack, drive, document_of("load", CAMERA, count, None, ()))


def _frames(count: int) -> Iterator[RecordedFrame]:
    for index in range(count):
        body = io.BytesIO()
        Image.new("RGB", (64, 36), (index % 256, index // 256 % 256, 90)).save(body, "PNG")
        yield RecordedFrame(_START + index * _STEP, "png", body.getvalue())


def await_ends(stack: Stack, drives: Sequence[str], within: float) -> dict[str, str]:
    """The status of each drive's execution, once all have ended or the seconds are over."""
    states, deadline = stack.client("stepfunctions"), time.monotonic() + within
    machine = stack.outputs["StateMachineArn"]
    names = {execution_name(drive, FIRST_RUN): drive for drive in drives}
    while True:
        pages = states.get_paginator("list_executions").paginate(stateMachineArn=machine)
        statuses = {names[e["name"]]: e["status"] for page in pages for e in page["executions"] if e["name"] in names}
        ended = [status for status in statuses.values() if status in ENDED]
        if len(ended) == len(drives) or time.monotonic() > deadline:
            return {drive: statuses.get(drive, "not started") for drive in drives}
        # Looking is work for the cloud that is measured.
        time.sleep(_LOOK_SECONDS)


@dataclass(frozen=True)
class Count:
    """What became of a drive's frames. `answers`: in S3; more than frames are work that was done twice.

    `lost`: uploaded and not listed, or neither in the dataset nor rejected; `doubled`: in one of them or both twice.
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
        """Whether every frame is there once, and the run left nothing behind."""
        whole = self.listed == self.labelled + self.rejected
        return whole and self.jobs == 1 and not (self.lost or self.doubled or self.pending)


def count_frames(stack: Stack, drive: str, frames: int) -> Count:
    """Hold the drive's listing, dataset and rejected frames against the frames that were uploaded."""
    uploaded = {f"drives/{drive}/{CAMERA}/{_START + i * _STEP}.png" for i in range(frames)}
    listed = [line.key for line in read_listing(stack.labels, RunFolder(drive, FIRST_RUN))]
    prefix = stack.ingest.uri("")
    labelled = [json.loads(line)["source-ref"].removeprefix(prefix) for line in _lines(stack, dataset_key, drive)]
    rejected = [json.loads(line)["key"] for line in _lines(stack, rejected_key, drive)]
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


def _lines(stack: Stack, key: Callable[[str, str], str], drive: str) -> Iterator[bytes]:
    return stack.labels.lines(key(drive, FIRST_RUN))
