"""Calibrations are fitted by class to what a model found."""

from __future__ import annotations

from autolabel.labels import Box, Detection
from autolabel.models import Model
from autolabel_cli.models.class_calibration import KnownFrame, fit_calibrations
from autolabel_cli.models.truth import COUNTS, IGNORED, Truth

CAR: Box = (100.0, 100.0, 200.0, 160.0)
ELSEWHERE: Box = (300.0, 100.0, 400.0, 160.0)


def _detection(name: str, box: Box, confidence: float) -> Detection:
    return Detection(name, box, confidence, confidence, name, ("m.0001",))


def test_a_model_is_calibrated_by_the_hits_of_its_detections() -> None:
    model = Model("m", "0001", "m", "jumpstart-detection", {"car": "car", "person": "person"})
    false_alarms = [_detection("car", ELSEWHERE, 0.9), _detection("car", CAR, 0.6), _detection("person", CAR, 0.5)]
    frames = [KnownFrame(false_alarms, {"car": [Truth(CAR, COUNTS), Truth((0, 0, 9, 9), IGNORED)]})] * 40
    calibrated = fit_calibrations(model, frames).calibration
    # The truth has no persons.
    assert set(calibrated) == {"car"}
    assert calibrated["car"].recall == 1.0
    assert calibrated["car"].confidence(0.9) < 0.7
