"""Turn answers into pre-labels, shard by shard: decode, merge, choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolabel.labelling.decoding import decode_answer, decode_regions
    from autolabel.labelling.label_shard import ShardLabelling
    from autolabel.labelling.model_detections import ModelDetections
    from autolabel.labelling.plan import plan_run
    from autolabel.labelling.prelabel import FrameLabels, label_frame
    from autolabel.labelling.shards import Shard, ShardFrame, read_shards
    from autolabel.labelling.uncertainty import FLOOR, frame_uncertainty
    from autolabel.labelling.uncertainty_map import UncertaintyMap, map_key
else:
    from autolabel.lazy_faces import lazy_face

    __getattr__ = lazy_face(
        __name__,
        {
            "decoding": (
                "decode_answer",
                "decode_regions",
            ),
            "label_shard": ("ShardLabelling",),
            "model_detections": ("ModelDetections",),
            "plan": ("plan_run",),
            "prelabel": (
                "FrameLabels",
                "label_frame",
            ),
            "shards": (
                "Shard",
                "ShardFrame",
                "read_shards",
            ),
            "uncertainty": (
                "FLOOR",
                "frame_uncertainty",
            ),
            "uncertainty_map": (
                "UncertaintyMap",
                "map_key",
            ),
        },
    )

__all__ = [
    "FLOOR",
    "FrameLabels",
    "ModelDetections",
    "Shard",
    "ShardFrame",
    "ShardLabelling",
    "UncertaintyMap",
    "decode_answer",
    "decode_regions",
    "frame_uncertainty",
    "label_frame",
    "map_key",
    "plan_run",
    "read_shards",
]
