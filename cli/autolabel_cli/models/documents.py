"""Catalogue documents, made from a file, from options, or from both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from autolabel.contracts.errors import DocumentRefused
from autolabel.labels import current_taxonomy
from autolabel.models import COVERED, DECODER_NAMES, Model, parse_model
from autolabel_cli.errors import CommandError
from autolabel_cli.suggestions import did_you_mean

# COCO's names (instances_val2017.json) for classes of the taxonomy. "motorbike" is the name in darknet's list.
COCO_CLASSES = {
    "person": "person",
    "bicycle": "bicycle",
    "car": "car",
    "motorcycle": "motorcycle",
    "motorbike": "motorcycle",
    "bus": "bus",
    "train": "train",
    "truck": "truck",
    "traffic light": "traffic light",
    "stop sign": "traffic sign",
}
_LAST_REVISION = "9999"
JUMPSTART_ACCEPT = "application/json;verbose;n_predictions=100"


def draft_model(
    name: str, document: Path | None, classes: Path | None, decoder: str | None, given: Mapping[str, Any]
) -> Model:
    """Make a model from a document and options. Its revision and endpoint are filled in later.

    `given`: fields that override the document, except those that are None. `decoder`: the default when neither names
    one. CommandError says what is wrong and which names are known.
    """
    raw: dict[str, Any] = _read_object(document) if document else {}
    if raw.get("purpose") == "masks":
        raise CommandError(
            f"{document} is of a promptable segmenter, which runs do not ask yet: check its container with "
            "`autolabel models check-segmenter URL`, and measure it with `autolabel evaluate masks`"
        )
    raw |= {"name": name, **{field: value for field, value in given.items() if value is not None}}
    if classes:
        raw["classes"] = _read_object(classes)
    raw.setdefault("classes", COCO_CLASSES)
    # Placeholders until the model is deployed.
    raw |= {"revision": _LAST_REVISION, "endpoint": name}
    raw.setdefault("decoder", decoder)
    if raw["decoder"] is None:
        known = ", ".join(sorted(DECODER_NAMES))
        raise CommandError(f"no decoder is given for the answers: give --decoder with one of {known}")
    raw.setdefault("accept", JUMPSTART_ACCEPT if str(raw["decoder"]).startswith("jumpstart-") else "application/json")
    origin = str(document or "the options")
    _check_names(raw, str(classes or origin))
    try:
        return parse_model(msgspec.json.encode(raw), origin)
    except DocumentRefused as e:
        raise CommandError(str(e)) from e


def _check_names(raw: Mapping[str, Any], origin: str) -> None:
    """Refuse an unknown decoder or class, with suggestions. The document's schema checks everything else."""
    decoder = raw["decoder"]
    if isinstance(decoder, str) and decoder not in DECODER_NAMES:
        known = ", ".join(sorted(DECODER_NAMES))
        near = did_you_mean(decoder, DECODER_NAMES)
        raise CommandError(f"the decoder {decoder!r} is unknown; known are {known}{near}")
    classes, thresholds = raw["classes"], raw.get("thresholds", {})
    if not isinstance(classes, dict) or not isinstance(thresholds, dict):
        return
    known_classes = COVERED if raw.get("purpose") == "views" else current_taxonomy().names
    for name in [*classes.values(), *thresholds]:
        if isinstance(name, str) and name not in known_classes:
            near = did_you_mean(name, known_classes)
            raise CommandError(f"{origin} names the unknown class {name!r}; known are {', '.join(known_classes)}{near}")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as e:
        raise CommandError(f"{path} cannot be read: {e.strerror}") from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise CommandError(f"{path} is not a JSON object: {e}") from e
