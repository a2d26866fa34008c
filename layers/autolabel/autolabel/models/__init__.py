"""Models: their catalogue, calibration and coverage, and the decoders of their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.models.calibration import Calibration, least_worthwhile
    from autolabel.models.calibration_fit import fit_calibration, fit_shift
    from autolabel.models.catalogue import (
        CATALOGUE_KEY,
        COVERED,
        Catalogue,
        CatalogueIndex,
        Model,
        TrainedDataset,
        Training,
        model_key,
        parse_model,
    )
    from autolabel.models.decoders import DECODER_NAMES, DecoderOptions
    from autolabel.models.segmenters import MAX_ANSWER_BYTES, Mask, SegmenterRequest, decode_masks, segmenter_request
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "calibration": (
                "Calibration",
                "least_worthwhile",
            ),
            "calibration_fit": (
                "fit_calibration",
                "fit_shift",
            ),
            "catalogue": (
                "CATALOGUE_KEY",
                "COVERED",
                "Catalogue",
                "CatalogueIndex",
                "Model",
                "TrainedDataset",
                "Training",
                "model_key",
                "parse_model",
            ),
            "decoders": (
                "DECODER_NAMES",
                "DecoderOptions",
            ),
            "segmenters": (
                "MAX_ANSWER_BYTES",
                "Mask",
                "SegmenterRequest",
                "decode_masks",
                "segmenter_request",
            ),
        },
    )

__all__ = [
    "CATALOGUE_KEY",
    "COVERED",
    "DECODER_NAMES",
    "MAX_ANSWER_BYTES",
    "Calibration",
    "Catalogue",
    "CatalogueIndex",
    "DecoderOptions",
    "Mask",
    "Model",
    "SegmenterRequest",
    "TrainedDataset",
    "Training",
    "decode_masks",
    "fit_calibration",
    "fit_shift",
    "least_worthwhile",
    "model_key",
    "parse_model",
    "segmenter_request",
]
