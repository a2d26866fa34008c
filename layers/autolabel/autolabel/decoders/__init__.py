"""Decoders: from a model's answer to raw detections, one small pure function for each family of models."""

from __future__ import annotations

from autolabel.decoders import jumpstart
from autolabel.decoders.raw import Decoder, RawDetection

DECODERS: dict[str, Decoder] = {"jumpstart-detection": jumpstart.DETECTION}

__all__ = ["DECODERS", "Decoder", "RawDetection"]
