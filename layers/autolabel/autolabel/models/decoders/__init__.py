"""Decodes models' answers to raw detections, with one small pure function for each family of models."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from autolabel.models.decoders.base import Decoder, DecoderOptions, RawDetection

# The module and name of each decoder. It is imported when an answer is read, because most functions only check names.
_PLACES = {
    "jumpstart-detection": ("jumpstart", "DETECTION"),
    "jumpstart-mask-rcnn": ("jumpstart", "MASK_RCNN"),
    "hf-object-detection": ("huggingface", "OBJECTS"),
    "hf-image-segmentation": ("huggingface", "SEGMENTS"),
    "torchvision": ("torchvision", "TORCHVISION"),
    "yolo": ("yolo", "YOLO"),
    "jmespath": ("mapped", "MAPPED"),
}
DECODER_NAMES = frozenset(_PLACES)


@cache
def find_decoder(name: str) -> Decoder:
    """Return the decoder with a name in DECODER_NAMES."""
    module, attribute = _PLACES[name]
    decoder: Decoder = getattr(import_module(f"autolabel.models.decoders.{module}"), attribute)
    return decoder


__all__ = ["DECODER_NAMES", "Decoder", "DecoderOptions", "RawDetection", "find_decoder"]
