"""Draws the frames that need most edits, with the true labels and the pre-labels."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from autolabel.labels.detections import Detections
from autolabel.labels.taxonomy import current_taxonomy
from autolabel_cli.models.kitti import CLASSES, REGION_TYPE, LabelledFrame, Level, counts
from tools.quality.figures import Comparison

_FRAMES = 8
_CAPTION = 16
_TRUE, _NOT_COUNTED = "#00e676", "#9e9e9e"


def write_sheet(comparison: Comparison, system: str, path: Path) -> list[str]:
    """Write a PNG of a system's worst frames, each with the truth above its pre-labels; returns their names."""
    edits, labels = comparison.edits[system], next(s.labels for s in comparison.systems if s.name == system)
    worst = sorted(range(len(edits)), key=lambda index: -edits[index].total)[:_FRAMES]
    strips = []
    for index in worst:
        frame, done = comparison.frames[index], edits[index]
        caption = f"{frame.name}: " + ", ".join(f"{kind} {count}" for kind, count in done._asdict().items())
        strips.append(_strip(frame, labels[index].prelabel, comparison.level, f"{system}, {caption}"))
    sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)))
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    # Fast to write, at the cost of size.
    sheet.save(path, compress_level=1)
    return [comparison.frames[index].name for index in worst]


def _strip(frame: LabelledFrame, prelabel: Detections, level: Level, caption: str) -> Image.Image:
    with Image.open(frame.image) as image:
        picture = image.convert("RGB")
    true, labelled = picture.copy(), picture
    draw = ImageDraw.Draw(true)
    for thing in frame.objects:
        if thing.box is not None:
            important = thing.type in CLASSES and counts(thing, level)
            color = _TRUE if important else _NOT_COUNTED
            draw.rectangle(thing.box, outline=color, width=2)
            if thing.type != REGION_TYPE:
                draw.text((thing.box[0], thing.box[1] - 11), CLASSES.get(thing.type, thing.type), fill=color)
    colors = current_taxonomy().colors
    draw = ImageDraw.Draw(labelled)
    for d in prelabel:
        draw.rectangle(d.box, outline=colors[d.name], width=2)
        draw.text((d.box[0], d.box[1] - 11), f"{d.name} {d.confidence:.2f}", fill=colors[d.name])
    strip = Image.new("RGB", (frame.width, 2 * frame.height + _CAPTION))
    ImageDraw.Draw(strip).text((4, 2), caption, fill="white")
    strip.paste(true, (0, _CAPTION))
    strip.paste(labelled, (0, _CAPTION + frame.height))
    return strip
