"""The card of an export, dataset.json: its contents and where they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from autolabel.contracts.verification import EVERYTHING
from autolabel.labels import LabelledBy
from autolabel.triage import Certificate
from autolabel_cli import __version__
from autolabel_cli.datasets.classes import ClassMap
from autolabel_cli.datasets.splits import SPLITS
from autolabel_cli.datasets.staging import Line, StagedFrame


class Card:
    """Counts the contents of an export while its sources are read."""

    def __init__(self, classes: ClassMap, splits: Sequence[str]) -> None:
        self._classes = classes
        self._drives: dict[str, dict[str, Any]] = {}
        self._splits = {split: {"drives": 0, "frames": 0, "regions": 0} for split in splits}
        self._boxes = {split: Counter[str]() for split in splits}
        self._labelled_by: Counter[str] = Counter()
        self._triage: Counter[str] = Counter()
        self.frames_left_out: Counter[str] = Counter()
        self.boxes_left_out: Counter[str] = Counter()

    @property
    def frames(self) -> int:
        return sum(split["frames"] for split in self._splits.values())

    @property
    def boxes(self) -> int:
        return sum(counts.total() for counts in self._boxes.values())

    @property
    def scripted(self) -> int:
        """Number of frames whose label is a script's, which no person has looked at."""
        return self._labelled_by[LabelledBy.SCRIPT.value]

    @property
    def empty_splits(self) -> list[str]:
        return [name for name, split in self._splits.items() if not split["frames"]]

    @property
    def split_as_val(self) -> str | None:
        """Split whose frames YOLO's data.yaml names as `val`, because `val` has none; None when `val` has frames."""
        filled = [name for name in SPLITS if name in self._splits and self._splits[name]["frames"]]
        return None if "val" in filled else next(iter(filled), None)

    @property
    def split_frames(self) -> dict[str, int]:
        """Number of exported frames of each split."""
        return {name: int(split["frames"]) for name, split in self._splits.items()}

    def __contains__(self, drive: str) -> bool:
        return drive in self._drives

    def split_of(self, drive: str) -> str | None:
        """Return the split of an added drive, or None."""
        return self._drives[drive]["split"] if drive in self._drives else None

    def add_drive(
        self, line: Line, split: str | None, vehicle: str | None, certificates: Sequence[Certificate] = ()
    ) -> None:
        """Add a drive by its first line. `split`: None when it is cut; `vehicle`: None when it was not looked up.

        `certificates`: of its run.
        """
        self._drives[line.frame.drive] = {
            "drive": line.frame.drive,
            "run": line.provenance.run,
            **({} if vehicle is None else {"vehicle": vehicle}),
            **({"splits": Counter[str]()} if split is None else {"split": split}),
            "models": line.provenance.models,
            "taxonomy": line.provenance.taxonomy or None,
            "fusion": line.provenance.fusion or None,
            **({"certificates": msgspec.to_builtins(certificates)} if certificates else {}),
            "frames": 0,
        }
        if split is not None:
            self._splits[split]["drives"] += 1

    def add_frame(self, line: Line, frame: StagedFrame, split: str) -> None:
        """Count an exported frame."""
        drive = self._drives[line.frame.drive]
        drive["frames"] += 1
        if "splits" in drive:
            self._splits[split]["drives"] += split not in drive["splits"]
            drive["splits"][split] += 1
        self._splits[split]["frames"] += 1
        self._splits[split]["regions"] += len(frame.regions)
        self._boxes[split].update(self._classes.names[box.label] for box in frame.boxes)
        self._labelled_by[line.provenance.labelled_by.value] += 1
        self._triage[line.provenance.triage or EVERYTHING] += 1

    def drop_box(self, split: str, name: str, why: str) -> None:
        """Count a box of an exported frame as left out."""
        self._boxes[split][name] -= 1
        self.boxes_left_out[why] += 1

    def document(self, **known: Any) -> dict[str, Any]:
        """Make the card, with `known` at its beginning."""
        return {
            **known,
            "version": __version__,
            "classes": list(self._classes.names),
            "frames": self.frames,
            "boxes": self.boxes,
            "splits": {
                name: {**split, "boxes": {c: self._boxes[name][c] for c in self._classes.names}}
                for name, split in self._splits.items()
            },
            "labelled_by": dict(self._labelled_by.most_common()),
            "triage": dict(self._triage.most_common()),
            "left_out": {
                "frames": dict(self.frames_left_out.most_common()),
                "boxes": dict(self.boxes_left_out.most_common()),
            },
            "drives": list(self._drives.values()),
        }
