"""Catalogue documents from a file, from options, or from both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from autolabel.contracts.errors import DocumentRefused
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.models.catalogue import Model, parse_model
from autolabel.models.decoders import DECODER_NAMES
from autolabel_cli.errors import CommandError
from autolabel_cli.suggestions import did_you_mean

# COCO's names (instances_val2017.json) that the taxonomy has a place for; darknet's list says motorbike.
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
    """A model as the document and the options describe it; its revision and endpoint are filled in later.

    `given`: further fields of the document, which win over it; those that are None are not given. `decoder`: the one
    to take when neither names any. CommandError says what is wrong, with what is known and near.
    """
    raw: dict[str, Any] = _read_object(document) if document else {}
    raw |= {"name": name, **{field: value for field, value in given.items() if value is not None}}
    if classes:
        raw["classes"] = _read_object(classes)
    raw.setdefault("classes", COCO_CLASSES)
    # The real ones are known once it is deployed.
    raw |= {"revision": _LAST_REVISION, "endpoint": name}
    raw.setdefault("decoder", decoder)
    if raw["decoder"] is None:
        raise CommandError(f"say how the answers are read: --decoder with one of {', '.join(sorted(DECODER_NAMES))}")
    raw.setdefault("accept", JUMPSTART_ACCEPT if str(raw["decoder"]).startswith("jumpstart-") else "application/json")
    origin = str(document or "the options")
    _check_names(raw, str(classes or origin))
    try:
        return parse_model(msgspec.json.encode(raw), origin)
    except DocumentRefused as e:
        raise CommandError(str(e)) from e


def _check_names(raw: Mapping[str, Any], origin: str) -> None:
    """Refuse an unknown decoder or class with what is near it; everything else is the document's schema."""
    decoder = raw["decoder"]
    if isinstance(decoder, str) and decoder not in DECODER_NAMES:
        known = ", ".join(sorted(DECODER_NAMES))
        near = did_you_mean(decoder, DECODER_NAMES)
        raise CommandError(f"the decoder {decoder!r} is unknown; known are {known}{near}")
    classes, thresholds = raw["classes"], raw.get("thresholds", {})
    if not isinstance(classes, dict) or not isinstance(thresholds, dict):
        return
    known_classes = current_taxonomy().names
    for name in [*classes.values(), *thresholds]:
        if isinstance(name, str) and name not in known_classes:
            near = did_you_mean(name, known_classes)
            raise CommandError(
                f"{origin} maps onto the class {name!r}, which is unknown; known are {', '.join(known_classes)}{near}"
            )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as e:
        raise CommandError(f"{path} cannot be read: {e.strerror}") from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise CommandError(f"{path} is no JSON object: {e}") from e
