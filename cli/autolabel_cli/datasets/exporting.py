"""Export of datasets: stages lines, fetches images, writes a format, and moves the result into place at the end."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from autolabel.labels import ManifestLine, with_reasons
from autolabel.triage import Certificate
from autolabel_cli.datasets.card import Card
from autolabel_cli.datasets.classes import ClassMap
from autolabel_cli.datasets.formats import IN_SPACE, Format, has_videos, image_path, images_folder, write_format
from autolabel_cli.datasets.images import copy_clouds, copy_images
from autolabel_cli.datasets.nuscenes import write_nuscenes
from autolabel_cli.datasets.openlabel import write_openlabel
from autolabel_cli.datasets.samples import DriveRig, prepare_objects, read_rig
from autolabel_cli.datasets.sources import Source
from autolabel_cli.datasets.splits import Splitter
from autolabel_cli.datasets.staging import NOT_FINAL, Labels, Line, StagedFrame, chosen_label, read_line, stage_frame
from autolabel_cli.errors import CommandError
from autolabel_cli.stack import Stack

CARD = "dataset.json"
# Key of a card: frames that separate two splits.
IN_GAP = "in a gap between splits"
_UNCALIBRATED = "no calibration of the camera"
_ADDED = "cuboid without a box"
_FLAT = "no cuboid"
# Formats that have no boxes to ignore, with their names.
_WITHOUT_REGIONS = {"yolo": "YOLO", "nuscenes": "nuScenes", "openlabel": "OpenLABEL"}
Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Export:
    """Request for an export. `described`: fields of the card that describe the request.

    `tolerance`: the most ns between the frames of a sample, in formats that have samples.
    """

    form: Format
    labels: Labels
    classes: ClassMap
    splitter: Splitter
    described: Mapping[str, Any]
    tolerance: int = 0

    def run(self, sources: Sequence[Source], stack: Stack | None, folder: Path, images: bool, tell: Tell) -> Card:
        """Write an export and its card into a new or empty folder, which stays as it is when the export fails.

        `stack`: None when neither runs nor images are read from a stack. `tell(stage, count, total)` gets the progress.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CommandError(f"--to {folder} is not empty or not a folder: give a folder that is empty or new")
        folder.parent.mkdir(parents=True, exist_ok=True)
        # In the same parent folder, so that moving the export into place is one step.
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            staged = {split: Path(beside, f"{split}.jsonl") for split in self.splitter.names}
            rigs = dict[str, DriveRig]()
            card = self._stage(sources, stack, staged, rigs, tell)
            if not card.frames:
                raise CommandError(f"no frame to export: {_left_out(card)}")
            made = Path(beside, "export")
            made.mkdir()
            if images:
                ingest = stack.ingest if stack else None
                copy_images(self._places(staged, made), ingest, lambda n: tell("images", n, card.frames))
                if self.form == "nuscenes":
                    copy_clouds(_decoded(staged), made, ingest, lambda n: tell("point clouds", n, None))
            self._write(made, staged, rigs, card, lambda n: tell("written", n, card.frames))
            document = msgspec.json.encode(card.document(**self.described))
            (made / CARD).write_bytes(msgspec.json.format(document, indent=2) + b"\n")
            made.replace(folder)
        return card

    def _write(
        self,
        made: Path,
        staged: Mapping[str, Path],
        rigs: Mapping[str, DriveRig],
        card: Card,
        written: Callable[[int], None],
    ) -> None:
        names = self.classes.names
        if self.form == "nuscenes":
            write_nuscenes(made, names, staged, rigs, self.tolerance, card.drop_box, written)
        elif self.form == "openlabel":
            write_openlabel(made, names, staged, rigs, self.tolerance, written)
        else:
            write_format(self.form, made, names, staged, written)

    def _stage(
        self,
        sources: Sequence[Source],
        stack: Stack | None,
        staged: Mapping[str, Path],
        rigs: dict[str, DriveRig],
        tell: Tell,
    ) -> Card:
        """Write the requested frames to one file for each split, and count them."""
        card = Card(self.classes, self.splitter.names)
        with ExitStack() as files:
            out = {split: files.enter_context(path.open("wb")) for split, path in staged.items()}
            for count, (source, line, excluded) in enumerate(_lines(sources, stack), start=1):
                tell("read", count, None)
                split, video = self._place(card, line, source, stack, rigs)
                if split is None:
                    card.frames_left_out[IN_GAP] += 1
                    continue
                attribute, why = (None, excluded) if excluded else chosen_label(line, self.labels)
                if attribute is None:
                    card.frames_left_out[why] += 1
                    continue
                rig = rigs.get(line.frame.drive)
                if self.form == "nuscenes" and (rig is None or line.frame.camera not in rig.cameras):
                    card.frames_left_out[_UNCALIBRATED] += 1
                    continue
                in_space = self.form in IN_SPACE
                frame = stage_frame(line, attribute, video, self.classes, card.boxes_left_out, in_space=in_space)
                if self.form in _WITHOUT_REGIONS and frame.regions:
                    why = f"ignored, for which {_WITHOUT_REGIONS[self.form]} has no notion"
                    card.boxes_left_out[why] += len(frame.regions)
                    frame.regions.clear()
                if in_space:
                    prepare_objects(frame, rig.vehicle if rig else "")
                    if added := len(line.content.added_cuboids or ()):
                        card.boxes_left_out[_ADDED] += added
                if self.form == "nuscenes" and (flat := sum(box.cuboid is None for box in frame.boxes)):
                    card.boxes_left_out[_FLAT] += flat
                    frame.boxes = [box for box in frame.boxes if box.cuboid]
                card.add_frame(line, frame, split)
                out[split].write(msgspec.json.encode(frame) + b"\n")
        return card

    def _place(
        self, card: Card, line: Line, source: Source, stack: Stack | None, rigs: dict[str, DriveRig]
    ) -> tuple[str | None, str]:
        """Return the split of a frame, None in a gap, and the name of its video."""
        drive, cut = line.frame.drive, self.splitter.stretches
        if cut is None:
            return card.split_of(drive) or self._add_drive(card, line, source, stack, rigs), line.video
        if drive not in card:
            card.add_drive(line, None, None, self._read_facts(line, source, stack, rigs))
        split, start = cut.place(drive, int(line.frame.timestamp), self.splitter.choose)
        # A stretch is a video of its own, since others between two of one split are in another.
        return split, f"{line.video}.{start}"

    def _add_drive(self, card: Card, line: Line, source: Source, stack: Stack | None, rigs: dict[str, DriveRig]) -> str:
        run = line.provenance.run
        vehicle = self.splitter.vehicle_of(line.frame.drive, run) if self.splitter.vehicle_of else None
        split = self.splitter.choose(line.frame.drive if vehicle is None else vehicle)
        card.add_drive(line, split, vehicle, self._read_facts(line, source, stack, rigs))
        return split

    def _read_facts(
        self, line: Line, source: Source, stack: Stack | None, rigs: dict[str, DriveRig]
    ) -> Sequence[Certificate]:
        """Read what the summary says of a drive: its certificates, and its calibrations into `rigs`."""
        facts = source.facts(stack, line.frame.drive, line.provenance.run)
        rig = read_rig(facts.sensors) if self.form in IN_SPACE else None
        if rig:
            rigs[line.frame.drive] = rig
        elif self.form == "nuscenes":
            raise CommandError(
                f"{source}: the summary of drive {line.frame.drive} has no calibrated camera, which nuScenes needs: "
                'label it again with "cuboids": true and calibrations in drive.json, and keep summary.json beside a '
                "dataset.manifest file; --format openlabel goes without"
            )
        return facts.certificates

    def _places(self, staged: Mapping[str, Path], made: Path) -> Iterator[tuple[StagedFrame, Path]]:
        """Yield each staged frame with the path of its image."""
        for split, path in staged.items():
            places = Counter[str]()
            # Readers of formats without videos expect the folder of a split also without frames.
            if not has_videos(self.form):
                (made / images_folder(self.form, split)).mkdir(parents=True, exist_ok=True)
            for frame in _decoded({split: path}):
                image = made / image_path(self.form, split, frame, places[frame.video])
                places[frame.video] += 1
                image.parent.mkdir(parents=True, exist_ok=True)
                yield frame, image


def _decoded(staged: Mapping[str, Path]) -> Iterator[StagedFrame]:
    decoder = msgspec.json.Decoder(StagedFrame)
    for path in staged.values():
        with path.open("rb") as lines:
            yield from map(decoder.decode, lines)


def _lines(sources: Sequence[Source], stack: Stack | None) -> Iterator[tuple[Source, Line, str]]:
    """Read all lines, each with its source and the reason why an exclusion leaves it out.

    CommandError for a drive from two runs or files, and for a frame that comes twice.
    """
    origins: dict[str, str] = {}
    seen: set[str] = set()

    def read(source: Source) -> Iterator[tuple[Line, ManifestLine]]:
        copies = source.copies
        for number, body in enumerate(source.lines(stack), start=1):
            line = read_line(body, f"{source}, line {number}", copies)
            drive, origin = line.frame.drive, f"{source}, run {line.provenance.run}"
            if origins.setdefault(drive, origin) != origin:
                raise CommandError(f"drive {drive} is in {origins[drive]} and in {origin}: give only one of them")
            if line.name in seen:
                raise CommandError(f"{line.origin}: frame {line.frame.key} comes twice: remove one of its lines")
            seen.add(line.name)
            yield line, line.content

    for source in sources:
        for line, why in with_reasons(read(source), source.exclusions(stack)):
            yield source, line, why


def _left_out(card: Card) -> str:
    if not card.frames_left_out:
        return "the sources have no frames"
    reasons = ", ".join(f"{count} left out ({reason})" for reason, count in card.frames_left_out.most_common())
    hint = "; --labels all takes frames without a final label" if NOT_FINAL in card.frames_left_out else ""
    return reasons + hint
