"""The data of a training job: labelled frames of published datasets, as its two channels hold them."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

import msgspec

from autolabel.contracts.wording import counted
from autolabel.labels import with_reasons
from autolabel.models import TrainedDataset
from autolabel_cli.datasets.classes import map_classes
from autolabel_cli.datasets.sources import Source
from autolabel_cli.datasets.staging import Line, final_label, read_line, stage_frame
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

# Keys of frames begin so; the channel has what follows.
_FRAMES = "drives/"
# Larger data go to a file.
_IN_MEMORY = 8_000_000
# A manifest of more frames would be larger than what the command holds at once.
_MOST_FRAMES = 200_000


class _Labelled(msgspec.Struct):
    """A line of labels.jsonl: boxes as class, left, top, right, bottom in pixels of the frame."""

    frame: str
    boxes: list[tuple[str, float, float, float, float]]
    regions: list[tuple[float, float, float, float]]


class Samples(NamedTuple):
    """Labelled frames: `labels`, the file labels.jsonl; `frames`, the manifest of the pictures; what they come from."""

    labels: IO[bytes]
    frames: bytes
    datasets: tuple[TrainedDataset, ...]
    digest: str


def collect_samples(stack: Stack, sources: Sequence[Source], *, scripted: bool) -> Samples:
    """Collect the frames with a final label of published runs, sorted by drive, so that their order does not matter.

    Labels that an exclusion leaves out do not count. `scripted`: whether labels of a script do. CommandError for a
    drive that is named twice, for a dataset without a label that counts, and for too many frames.
    """
    names = Counter(source.drive for source in sources)
    if twice := [name for name, count in names.items() if count > 1]:
        raise CommandError(f"drive {twice[0]} is named with two runs, which share their frames: name one")
    classes = map_classes({}, "coco")
    labels: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 (the caller closes it)
    digest, keys, datasets = hashlib.sha256(), list[str](), list[TrainedDataset]()
    for source in sorted(sources):
        objects, frames = Counter[str](), 0
        for line in _counting(stack, source):
            attribute = final_label(line)
            if attribute is None or not _counts(line, scripted):
                continue
            frame = stage_frame(line, attribute, line.video, classes, Counter())
            boxes = [(classes.names[box.label], *box.at) for box in frame.boxes]
            key = frame.key.removeprefix(_FRAMES)
            written = msgspec.json.encode(_Labelled(key, boxes, frame.regions)) + b"\n"
            labels.write(written)
            digest.update(f"{line.provenance.etag}\0".encode() + written)
            keys.append(key)
            objects.update(name for name, *_ in boxes)
            frames += 1
            if len(keys) > _MOST_FRAMES:
                raise CommandError(f"the datasets have more than {_MOST_FRAMES:,} labelled frames: name fewer")
        if not frames:
            raise CommandError(
                f"{source} has no frame with a final label (labels of a script count with --scripted, excluded ones "
                "never): name another"
            )
        datasets.append(TrainedDataset(source.drive, source.run, frames, dict(sorted(objects.items()))))
    if not any(dataset.objects for dataset in datasets):
        raise CommandError(f"{counted(len(keys), 'labelled frame')} without an object: name datasets with objects")
    labels.seek(0)
    manifest = msgspec.json.encode([{"prefix": stack.ingest.uri(_FRAMES)}, *keys])
    return Samples(labels, manifest, tuple(datasets), digest.hexdigest())


def _counting(stack: Stack, source: Source) -> Iterator[Line]:
    """Yield the lines of a dataset that no exclusion leaves out."""
    lines = (read_line(body, f"{source}, line {number}") for number, body in enumerate(source.lines(stack), start=1))
    found = with_reasons(((line, line.content) for line in lines), source.exclusions(stack))
    return (line for line, why in found if not why)


def _counts(line: Line, scripted: bool) -> bool:
    return scripted or not line.content.labelled_by_script
