"""Exporting datasets: read and staged line by line, images fetched, written in a format, put in place at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from autolabel_cli.datasets.card import Card
from autolabel_cli.datasets.classes import ClassMap
from autolabel_cli.datasets.formats import Format, images_folder, write_format
from autolabel_cli.datasets.images import fetch_images
from autolabel_cli.datasets.sources import Source
from autolabel_cli.datasets.splits import Splitter
from autolabel_cli.datasets.staging import Labels, Line, StagedFrame, chosen_label, read_line, stage_frame
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

CARD = "dataset.json"
Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Export:
    """What is asked for; `described`: how, for the card."""

    form: Format
    labels: Labels
    classes: ClassMap
    splitter: Splitter
    described: Mapping[str, Any]

    def run(self, sources: Sequence[Source], stack: Stack | None, folder: Path, images: bool, tell: Tell) -> Card:
        """Write an export and its card into a folder that is empty or not there; nothing appears when it fails.

        `stack`: None when neither runs nor images are read from one. `tell(what, count, total)` hears how far it is.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CommandError(f"{folder} is there already: give --to a folder that is empty or new")
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that putting it there is one step.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            staged = {split: Path(beside, f"{split}.jsonl") for split in self.splitter.names}
            card = self._stage(sources, stack, staged, tell)
            if not card.frames:
                raise CommandError(f"there is no frame to export; left out: {dict(card.frames_left_out)}")
            made = Path(beside, "export")
            made.mkdir()
            if images and stack:
                fetch_images(self._places(staged, made), stack.ingest, lambda n: tell("images", n, card.frames))
            write_format(self.form, made, self.classes.names, staged, lambda n: tell("written", n, card.frames))
            document = msgspec.json.encode(card.document(**self.described))
            (made / CARD).write_bytes(msgspec.json.format(document, indent=2) + b"\n")
            made.replace(folder)
        return card

    def _stage(self, sources: Sequence[Source], stack: Stack | None, staged: Mapping[str, Path], tell: Tell) -> Card:
        """Sort the frames that are asked for into a file for each split."""
        card = Card(self.classes, self.splitter.names)
        with ExitStack() as files:
            out = {split: files.enter_context(path.open("wb")) for split, path in staged.items()}
            for count, line in enumerate(_lines(sources, stack), start=1):
                tell("read", count, None)
                drive = line.frame.drive
                split = card.split_of(drive) or self._add_drive(card, line)
                attribute, why = chosen_label(line, self.labels)
                if attribute is None:
                    card.frames_left_out[why] += 1
                    continue
                frame = stage_frame(line, attribute, self.classes, card.boxes_left_out)
                if self.form == "yolo" and frame.regions:
                    card.boxes_left_out["ignored, for which YOLO has no notion"] += len(frame.regions)
                    frame.regions.clear()
                card.add_frame(line, frame, split)
                out[split].write(msgspec.json.encode(frame) + b"\n")
        return card

    def _add_drive(self, card: Card, line: Line) -> str:
        run = line.provenance.run
        vehicle = self.splitter.vehicle_of(line.frame.drive, run) if self.splitter.vehicle_of else None
        split = self.splitter.choose(line.frame.drive if vehicle is None else vehicle)
        card.add_drive(line, split, vehicle)
        return split

    def _places(self, staged: Mapping[str, Path], made: Path) -> Iterator[tuple[StagedFrame, Path]]:
        """Each staged frame with the folder that its image belongs into."""
        decoder = msgspec.json.Decoder(StagedFrame)
        for split, path in staged.items():
            folder = made / images_folder(self.form, split)
            folder.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as lines:
                yield from ((decoder.decode(line), folder) for line in lines)


def _lines(sources: Sequence[Source], stack: Stack | None) -> Iterator[Line]:
    """All lines; CommandError for a drive that comes from two runs or files, or a frame that comes twice."""
    origins: dict[str, str] = {}
    seen: set[str] = set()
    for source in sources:
        for number, body in enumerate(source.lines(stack), start=1):
            line = read_line(body, f"{source}, line {number}")
            drive, origin = line.frame.drive, f"{source}, run {line.provenance.run}"
            if origins.setdefault(drive, origin) != origin:
                raise CommandError(f"drive {drive} is in {origins[drive]} and in {origin}: take one of them")
            if line.name in seen:
                raise CommandError(f"{line.origin}: frame {line.frame.key} is there already")
            seen.add(line.name)
            yield line
