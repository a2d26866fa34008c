"""Makes what reviewers get of a run: verification jobs, their manifests, the label categories and the worker page.

Verification is a port. Its back-ends, Ground Truth and Label Studio, take the manifest of a job and leave augmented
manifest lines. The state Verify is the same for both.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from autolabel.contracts.errors import CountMismatch, VerificationRefused
from autolabel.contracts.job_manifest import JobManifest
from autolabel.contracts.run_folder import RunFolder
from autolabel.contracts.verification import BOXES, CUBOIDS, SEGMENTS, TRACKS, JobTask, Task
from autolabel.labelling.shards import LabelledShard
from autolabel.labels.manifest import PRELABEL, PRELABEL_TRACKS, SEGMENTATION, VERIFIED, VERIFIED_SEGMENTS
from autolabel.verification.cuboid_labels import VERIFIED_CUBOIDS
from autolabel.verification.sequences import UNCERTAINTY

GROUND_TRUTH = "ground-truth"
LABEL_STUDIO = "label-studio"
# Frames that the first round left without a label, or marked unsure, get a second round. Its result is final.
LAST_ROUND = 2
# Ground Truth's quota of semantic-segmentation jobs (input-data-limits).
MAX_SEGMENTED = 20_000
# Ground Truth's quota of video jobs: sequences in a manifest.
MAX_SEQUENCES = 10
# Most jobs of a run: the events of all of them share the 25,000 of one execution.
MAX_JOBS = 200
# The attribute of the reviewers' label of a frame. Tracks are read as the boxes of each frame.
LABELS: dict[JobTask, str] = {
    BOXES: VERIFIED,
    SEGMENTS: VERIFIED_SEGMENTS,
    TRACKS: VERIFIED,
    CUBOIDS: VERIFIED_CUBOIDS,
}
# The attribute that a job writes. For references, Ground Truth takes only names that end in -ref.
ATTRIBUTES = LABELS | {TRACKS: "verified-tracks-ref"}
# The table that says what belongs to each class, for the pages of both tasks.
_CLASSES = "classes.liquid.html"
_PAGES = {BOXES: "worker.liquid.html", SEGMENTS: "segments.liquid.html"}
_TRACKS_TOLD = (
    "Play the strip once. Correct what is wrong in a track, delete a track of no object, and draw an object that has "
    "none. What is right stays as it is."
)
# Tasks that Ground Truth shows on a page of its own.
WITHOUT_PAGE = frozenset({TRACKS})
# Returns how many reviewers a frame gets, by its S3 URI.
ReviewersOf: TypeAlias = Callable[[str], int]
# Resources that Ground Truth defines (API permissions reference).
_WORKTEAM = re.compile(
    r"arn:aws[a-z-]*:sagemaker:(?P<region>[a-z0-9-]+):\d{12}:workteam/(?P<crowd>[a-z-]+)/[A-Za-z0-9-]+"
)
_CROWDS = ("private-crowd", "vendor-crowd")


class BackEnds(msgspec.Struct, frozen=True):
    """The back-ends of this stack: the `default` one, Ground Truth's `workteam` (ARN) and the stack's `region`, and
    whether a `label_studio` is configured."""

    default: str
    workteam: str
    region: str
    label_studio: bool

    def choose(self, wanted: str | None) -> str:
        """Choose the back-end of a drive: the `wanted` one, or the default. Raises VerificationRefused if unusable."""
        chosen = wanted or self.default
        if chosen == GROUND_TRUTH:
            check_workteam(self.workteam, self.region)
        elif not self.label_studio:
            raise VerificationRefused(
                "label-studio",
                "Label Studio is not configured in this stack: set the parameter LabelStudioConnectionArn and redrive",
            )
        return chosen


class VerificationJob(msgspec.Struct, frozen=True):
    """A verification job that has not begun, of the shards from `first` to `last`.

    `name` has room for round and attempt; `manifest`, `categories`, `template`: S3 URIs. `workteam`: the ARN of Ground
    Truth's work team. `task`: what reviewers correct; `attribute`: the name of their label in a manifest line.
    `template`: empty if Ground Truth has the page. `strip_frames`: the most frames of a strip, for the task `tracks`.
    `reviewers`: how many label each frame in the first round. `views`: reviewers see views of the frames.
    """

    name: str
    back_end: str
    manifest: str
    frames: int
    first: int
    last: int
    categories: str
    template: str
    workteam: str = ""
    task: JobTask = BOXES
    attribute: str = VERIFIED
    strip_frames: int = 0
    reviewers: int = 1
    views: bool = False


class EarlierAttempt(msgspec.Struct, frozen=True):
    """An attempt of a round, taken in. `results`: the S3 URI of its answers; `missing`: labels that did not come."""

    results: str
    missing: int = 0


class JobRound(msgspec.Struct, frozen=True):
    """A round of a verification job that its back-end has ended.

    `job`: its name in the back-end; `manifest`: the S3 URI of the round's lines. `output`: where the back-end left the
    labels: the S3 URI of an output manifest, or a project; empty if earlier attempts left no frame open. `attempts`:
    the earlier ones of the round; `given`: the S3 URI of the lines of the last one, if it is not the round's.
    `reviewers`: how many label each frame; of strips, each of them in an attempt of their own.
    """

    job: str
    back_end: str
    round: int
    manifest: str
    frames: int
    output: str
    task: JobTask = BOXES
    attempts: tuple[EarlierAttempt, ...] = ()
    given: str = ""
    reviewers: int = 1

    @property
    def has_reviewers_apart(self) -> bool:
        """Whether each of several reviewers has an attempt of their own."""
        return self.task == TRACKS and self.reviewers > 1


def one_reviewer(frame: str) -> int:
    return 1


def check_workteam(arn: str, region: str) -> None:
    """Raise VerificationRefused, with what to change, for a work team that jobs of this Region cannot use."""
    found = _WORKTEAM.fullmatch(arn)
    if not found:
        raise VerificationRefused(
            "workteam", f"{arn!r} is not the ARN of a work team: set the stack's parameter WorkteamName"
        )
    if found["crowd"] not in _CROWDS:
        raise VerificationRefused(
            "workteam", f"{arn} is the public crowd, which must not see these frames: name a private or a vendor's team"
        )
    if found["region"] != region:
        raise VerificationRefused(
            "workteam", f"{arn} is not in the stack's Region {region}: name a work team of {region}"
        )


def check_job_count(jobs: int, max_objects: int, strip_frames: int = 0) -> None:
    """Raise VerificationRefused, with what to change, for more jobs than a run may have.

    `strip_frames`: the most frames of a strip; 0 for jobs without strips.
    """
    if jobs > MAX_JOBS:
        most = f"{MAX_SEQUENCES} strips of {strip_frames}" if strip_frames else str(max_objects)
        parameter = "StripFrames" if strip_frames else "MaxJobObjects"
        raise VerificationRefused(
            "too-many-jobs",
            f"the run needs {jobs} verification jobs of at most {most} frames, and {MAX_JOBS} are the most: "
            f"raise the stack's parameter {parameter} and redrive the run, or upload the drive in parts",
        )


def split_into_jobs(
    folder: RunFolder, shards: Iterable[LabelledShard], max_objects: int, strip_frames: int = 0
) -> Iterator[JobManifest]:
    """Group whole shards into manifests of at most `max_objects` frames, in order; empty shards are left out.

    `strip_frames`: if it is not 0, a manifest also has at most MAX_SEQUENCES strips of this many frames of one camera.
    Rejected frames have no line, and frames with a kept label are not asked; neither counts. Raises CountMismatch for a
    shard that is too large for a job, VerificationRefused for one with too many strips.
    """
    parts: list[tuple[str, int]] = []
    frames, index, first, last = 0, 0, 0, 0
    of_camera = Counter[str]()

    def strips(more: LabelledShard, lines: int) -> int:
        counts = of_camera + Counter({more.camera: lines})
        return sum(-(-count // strip_frames) for count in counts.values()) if strip_frames else 0

    for shard in shards:
        part, lines, size = shard.part("manifest"), shard.lines, shard.manifest_bytes
        if shard.asked:
            part, lines, size = shard.part("asked"), shard.asked.lines, shard.asked.bytes
        if not lines:
            continue
        if lines > max_objects:
            raise CountMismatch(f"shard {shard.index} has {lines} frames, a job takes at most {max_objects}")
        if parts and (frames + lines > max_objects or strips(shard, lines) > MAX_SEQUENCES):
            yield JobManifest(folder.job_manifest(index), frames, tuple(parts), first, last, index)
            parts, frames, index = [], 0, index + 1
            of_camera.clear()
        if strips(shard, lines) > MAX_SEQUENCES:
            raise VerificationRefused(
                "too-many-strips",
                f"shard {shard.index} has {lines} frames, and a job takes {MAX_SEQUENCES} strips of {strip_frames}: "
                "raise the stack's parameter StripFrames and redrive the run",
            )
        first, last = first if parts else shard.index, shard.index
        parts.append((folder.shard(shard.index, part), size))
        frames += lines
        of_camera[shard.camera] += lines
    if parts:
        yield JobManifest(folder.job_manifest(index), frames, tuple(parts), first, last, index)


def job_name(bucket: str, drive: str, run: str, index: int, task: JobTask = BOXES) -> str:
    """Return the stem of a labelling job's name, at most 50 characters.

    Ground Truth's job names have no underscore, must differ in more than case, and can never be used again in an
    account and Region. So a hash stands for the drive's exact name and the label bucket: two stacks can label drives
    of the same name. The names of jobs of cuboids differ from those of the labels before them.
    """
    number = f"c{index:02d}" if task == CUBOIDS else f"{index:03d}"
    readable = re.sub(r"[^A-Za-z0-9]+", "-", drive)[:30].strip("-")
    return f"{readable}-{hashlib.sha256(f'{bucket}/{drive}'.encode()).hexdigest()[:8]}-{run}-{number}"


def label_categories(
    labels: Sequence[str], task: Task = BOXES, colors: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """Encode the label category file of a job. The order of the labels gives the class ids of the manifests.

    `colors`: of the classes, for a page of tracks that is not Ground Truth's.
    """
    named = [{"label": name} for name in labels]
    if task == TRACKS:
        told = {
            "name": UNCERTAINTY,
            "type": "string",
            "editsAllowed": "none",
            "description": "How uncertain the models are of the box, 0 to 1",
        }
        # As in the template of a page of boxes, Ground Truth shows nothing of it.
        data = f'<data hidden data-portal="colors" value="{_colors(colors, labels)}"></data>'
        # Jobs of images name the version in another word.
        return msgspec.json.encode(
            {
                "documentVersion": "2020-03-01",
                "labels": named,
                "categoryGlobalAttributes": [told],
                "auditLabelAttributeName": PRELABEL_TRACKS,
                "instructions": {"shortInstruction": _TRACKS_TOLD, "fullInstruction": f"<p>{_TRACKS_TOLD}</p>{data}"},
            }
        )
    return msgspec.json.encode({"document-version": "2018-11-28", "labels": named})


def worker_template(colors: dict[str, str], labels: Sequence[str], task: Task = BOXES) -> bytes:
    """Fill in the worker page: a Liquid template that Ground Truth renders with each frame's pre-label."""
    page, classes = (
        files("autolabel.verification").joinpath(name).read_text("utf-8") for name in (_PAGES[task], _CLASSES)
    )
    shown = ((name, colors[name]) for name in labels if name in colors)
    legend = "".join(f'<li><span style="background:{color}"></span>{name}</li>' for name, color in shown)
    page = page.replace("PRELABEL", PRELABEL).replace("SEGMENTATION", SEGMENTATION)
    page = page.replace("<!-- LEGEND -->", legend).replace("<!-- CLASSES -->", classes)
    return page.replace("COLORS", _colors(colors, labels)).encode()


def _colors(colors: Mapping[str, str], labels: Sequence[str]) -> str:
    """Encode the colours of a job's classes for an attribute of HTML."""
    return html.escape(msgspec.json.encode({name: colors[name] for name in labels if name in colors}).decode())
