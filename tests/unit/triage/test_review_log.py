"""The log of a run's reviews has what people did to the pre-label of each frame."""

from __future__ import annotations

from typing import Any

import pytest

from autolabel.contracts.verification import AGAIN, UNCERTAIN
from autolabel.labelling.uncertainty import FrameUncertainty
from autolabel.labels.agreement import ClassAgreement
from autolabel.triage.review_log import review_frame
from tests.fakes.lines import parsed

UNCERTAINTY = FrameUncertainty(0.2, (0.1, 0.1), (0.05,), 0.0, ("car",))


def frame(labelled_by: str, triage: str, *, seconds: float = 3.0) -> dict[str, Any]:
    """Make a line whose pre-label has two cars, and whose label has one."""
    boxes = [{"class_id": 0, "left": 100 * n, "top": 50, "width": 40, "height": 30} for n in range(2)]
    metadata = {"class-map": {"0": "car"}, "objects": [{"confidence": 0.0}] * 2}
    label = {"image_size": [{"width": 2_100, "height": 1_080, "depth": 3}], "annotations": boxes}
    return {
        "source-ref": "s3://ingest/drives/drive-7/front/1700000000000000000.png",
        "provenance": {"camera": "front", "labelled-by": labelled_by, "triage": triage},
        "prelabel": label,
        "prelabel-metadata": metadata,
        "verified": {**label, "annotations": boxes[:1]},
        "verified-metadata": {**metadata, "objects": metadata["objects"][:1]},
        "review": {"seconds": seconds},
    }


def test_a_persons_changes_and_time_are_recorded() -> None:
    reviewed, pairs = review_frame(parsed(frame("model and person", UNCERTAIN)), UNCERTAINTY, 7)
    assert (reviewed.key, reviewed.position) == ("drives/drive-7/front/1700000000000000000.png", 7)
    assert (reviewed.verified, reviewed.classes) == (True, {"car": ClassAgreement(kept=1, deleted=1)})
    assert (reviewed.seconds, reviewed.level) == (3.0, 0.2)
    assert pairs is not None
    assert len(pairs) == 2


@pytest.mark.parametrize(("labelled_by", "triage"), [("script", UNCERTAIN), ("model", UNCERTAIN), ("person", AGAIN)])
def test_other_labels_say_nothing_about_the_prelabel(labelled_by: str, triage: str) -> None:
    reviewed, pairs = review_frame(parsed(frame(labelled_by, triage)), UNCERTAINTY, 0)
    assert (reviewed.verified, reviewed.classes, reviewed.seconds, pairs) == (False, {}, None, None)
