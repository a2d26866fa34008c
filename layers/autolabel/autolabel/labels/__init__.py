"""Labels: detections, classes, manifest lines with their boxes, agreement and reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.labels.agreement import (
        IGNORE,
        SAME_OBJECT,
        WELL_PLACED,
        corners,
        count_agreement,
        pair_boxes,
        share_in,
    )
    from autolabel.labels.box_cuboids import BoxCuboid, CameraCuboid, CuboidProjection, CuboidScene, in_camera
    from autolabel.labels.detections import Box, Detection, Detections, box_iou
    from autolabel.labels.exclusions import (
        ExcludedKind,
        Exclusion,
        Exclusions,
        LineOrigin,
        Makers,
        exclusion_key,
        is_of,
        read_exclusions,
        with_makers,
        with_reasons,
    )
    from autolabel.labels.image_header import ImageHeader, read_header
    from autolabel.labels.image_pixels import as_rgb, open_pixels
    from autolabel.labels.manifest import (
        PRELABEL,
        VERIFIED,
        BoxLabel,
        LabelledBox,
        LabelledBy,
        ManifestLine,
        Provenance,
        read_line,
    )
    from autolabel.labels.reviews import Marks, Review
    from autolabel.labels.rle import read_bitmap
    from autolabel.labels.taxonomy import current_taxonomy, job_labels
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "agreement": (
                "IGNORE",
                "SAME_OBJECT",
                "WELL_PLACED",
                "corners",
                "count_agreement",
                "pair_boxes",
                "share_in",
            ),
            "box_cuboids": (
                "BoxCuboid",
                "CameraCuboid",
                "CuboidProjection",
                "CuboidScene",
                "in_camera",
            ),
            "detections": (
                "Box",
                "Detection",
                "Detections",
                "box_iou",
            ),
            "exclusions": (
                "ExcludedKind",
                "Exclusion",
                "Exclusions",
                "LineOrigin",
                "Makers",
                "exclusion_key",
                "is_of",
                "read_exclusions",
                "with_makers",
                "with_reasons",
            ),
            "image_header": (
                "ImageHeader",
                "read_header",
            ),
            "image_pixels": (
                "as_rgb",
                "open_pixels",
            ),
            "manifest": (
                "PRELABEL",
                "VERIFIED",
                "BoxLabel",
                "LabelledBox",
                "LabelledBy",
                "ManifestLine",
                "Provenance",
                "read_line",
            ),
            "reviews": (
                "Marks",
                "Review",
            ),
            "rle": ("read_bitmap",),
            "taxonomy": (
                "current_taxonomy",
                "job_labels",
            ),
        },
    )

__all__ = [
    "IGNORE",
    "PRELABEL",
    "SAME_OBJECT",
    "VERIFIED",
    "WELL_PLACED",
    "Box",
    "BoxCuboid",
    "BoxLabel",
    "CameraCuboid",
    "CuboidProjection",
    "CuboidScene",
    "Detection",
    "Detections",
    "ExcludedKind",
    "Exclusion",
    "Exclusions",
    "ImageHeader",
    "LabelledBox",
    "LabelledBy",
    "LineOrigin",
    "Makers",
    "ManifestLine",
    "Marks",
    "Provenance",
    "Review",
    "as_rgb",
    "box_iou",
    "corners",
    "count_agreement",
    "current_taxonomy",
    "exclusion_key",
    "in_camera",
    "is_of",
    "job_labels",
    "open_pixels",
    "pair_boxes",
    "read_bitmap",
    "read_exclusions",
    "read_header",
    "read_line",
    "share_in",
    "with_makers",
    "with_reasons",
]
