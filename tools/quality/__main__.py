"""`python -m tools.quality --labels FOLDER`: measure and print label quality; limits that are missed do not fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console

from autolabel_cli.models.catalogue import read_document
from autolabel_cli.models.kitti import GROUPS, LEVELS, LabelledFrame, read_labelled_folder
from tools.demo.__main__ import SERVERS
from tools.demo.deployment import PROJECT
from tools.quality.aims import Aim, aims_of
from tools.quality.answers import read_answers
from tools.quality.edits import Edits
from tools.quality.figures import RESAMPLES, Comparison, describe
from tools.quality.label_errors import find_injected
from tools.quality.sheet import write_sheet
from tools.quality.systems import CALIBRATED, FOLDS, FUSED, System, all_systems, decode_answers
from tools.quality.table import print_aims, print_classes, print_edits, print_label_errors, print_uncertainty
from tools.quality.uncertainty import as_document, uncertainty_figures

_NOTES = (
    "Objects count by KITTI's rules at the level: minimum height, maximum occlusion and truncation. Ignored are all "
    "others, vans when cars count, sitting persons when persons count, and DontCare regions. AP is COCO's, of all "
    "candidates. Precision, recall (IoU 0.5) and edits are of pre-labels. Intervals: 95 %, from "
    f"{RESAMPLES:,} resamples of the frames.",
    f"Calibrated: scores and boxes are fitted on the frames outside each of {FOLDS} folds and applied to the fold. For "
    "edits: also with the thresholds that expect the fewest edits. Nothing else is fitted here: weights, thresholds "
    "and IoUs are those of the catalogue and of the product.",
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--labels", type=click.Path(path_type=Path), required=True, help="Labelled frames in KITTI's format.")
@click.option("--models", default=" ".join(SERVERS), show_default=True, help="Names of models/*.json.")
@click.option(
    "--level",
    "level_name",
    type=click.Choice(list(LEVELS)),
    default="hard",
    show_default=True,
    help="KITTI's level: which objects count.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=PROJECT / "build" / "quality",
    help="Folder for the results; default: build/quality.",
)
def main(labels: Path, models: str, level_name: str, output: Path) -> None:
    """Measure the labels of models, alone and merged, on a folder of labelled frames."""
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    frames = read_labelled_folder(labels)
    output.mkdir(parents=True, exist_ok=True)
    entrants = []
    for name in models.split():
        model = read_document(PROJECT / "models" / f"{name}.json")
        console.print(f"[dim]asking {name} for {len(frames)} frames[/]")
        answers = read_answers(model, [f.image for f in frames], output)
        entrants.append(decode_answers(model, answers, frames))
    systems = list(all_systems(entrants, frames, LEVELS[level_name]))
    comparison = Comparison(systems, frames, LEVELS[level_name])
    aims = list(aims_of(comparison))
    uncertainties = list(uncertainty_figures(comparison, [entrant.model for entrant in entrants]))
    print_classes(console, comparison, f"{labels}: {len(frames)} frames, level {level_name} (* best alone)")
    print_edits(console, comparison)
    print_uncertainty(console, uncertainties, len(frames))
    print_aims(console, aims)
    chosen = [s for s in systems if s.name in (comparison.least_edits_alone(), FUSED, FUSED + CALIBRATED)]
    errors = {s.name: find_injected(s, frames, LEVELS[level_name]) for s in chosen}
    print_label_errors(console, errors)
    for note in _NOTES:
        console.print(note)
    whole = _whole_groups(systems, frames)
    print_classes(console, whole, "The same with truncated objects counted, as in the project's reference figures")
    document = {
        "labels": str(labels),
        "said": _NOTES,
        level_name: _document(comparison, aims),
        "whole": _document(whole, ()),
        "doubt": {one.system: as_document(one) for one in uncertainties},
        "label_errors": {system: found._asdict() for system, found in errors.items()},
    }
    (output / "quality.json").write_text(json.dumps(document, indent=2) + "\n")
    for system in errors:
        write_sheet(comparison, system, output / f"worst {system}.png")
    console.print(f"written to {output}: quality.json and pictures of the frames that need most edits")


def _whole_groups(systems: Sequence[System], frames: Sequence[LabelledFrame]) -> Comparison:
    """Compare on class groups with truncated objects counted, as in the project's reference figures."""
    return Comparison(systems, frames, LEVELS["whole"], GROUPS)


def _document(comparison: Comparison, aims: Sequence[Aim]) -> dict[str, object]:
    systems = [s.name for s in comparison.systems]
    return {
        "frames": len(comparison.frames),
        "level": comparison.level._asdict(),
        "classes": {
            name: {
                "objects": comparison.objects(name),
                "best_alone": comparison.best_alone(name),
                "systems": {system: comparison.figures[system, name].describe() for system in systems},
            }
            for name in comparison.classes
        },
        "edits_per_frame": {
            system: describe(comparison.edits_per_frame(system))
            | dict(zip(Edits._fields, np.mean(comparison.edits[system], axis=0).round(4).tolist(), strict=True))
            for system in systems
        },
        "aims": [aim.as_json() for aim in aims],
    }


main()
