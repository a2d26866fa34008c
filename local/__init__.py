"""The embedded cloud: AWS on one machine, for tests, demonstrations and load runs (README.md).

These names are its public face; the modules below it may change. A name is imported when it is first used: the
processes that the cloud starts import this module too, and some of them have no site-packages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.cloud.faults.board import FAULT_BOARD
    from local.cloud.faults.fault import FAULT_KINDS, Fault, FaultError
    from local.cloud.launcher import CloudError, EmbeddedCloud
    from local.cloud.metering.meter import Usage, used_between
    from local.cloud.process_tree import session_members
    from local.cloud.stepfunctions.jsonata_templates import Evaluation
    from local.console.server import CloudConsole
    from local.records import UnreadableState
    from local.sagemaker.ground_truth.annotators import (
        Annotation,
        Annotator,
        AnsweredBy,
        Box,
        Boxes,
        Failure,
        JobFails,
        JobStops,
        JobView,
        Segments,
        Verdict,
        keep_every_box,
    )
    from local.sagemaker.ground_truth.cuboids import Cuboid, Cuboids, Scene
    from local.sagemaker.ground_truth.sequences import TrackedBox, Tracks, VideoFrame, VideoSequence
    from local.sagemaker.hosting.model_servers import ModelServer, ModelServerFailed
    from local.settings import ACCOUNT, PEOPLE, REGION, STACK_WENT, CloudSettings, SettingsError

__all__ = [
    "ACCOUNT",
    "FAULT_BOARD",
    "FAULT_KINDS",
    "PEOPLE",
    "REGION",
    "STACK_WENT",
    "Annotation",
    "Annotator",
    "AnsweredBy",
    "Box",
    "Boxes",
    "CloudConsole",
    "CloudError",
    "CloudSettings",
    "Cuboid",
    "Cuboids",
    "EmbeddedCloud",
    "Evaluation",
    "Failure",
    "Fault",
    "FaultError",
    "JobFails",
    "JobStops",
    "JobView",
    "ModelServer",
    "ModelServerFailed",
    "Scene",
    "Segments",
    "SettingsError",
    "TrackedBox",
    "Tracks",
    "UnreadableState",
    "Usage",
    "Verdict",
    "VideoFrame",
    "VideoSequence",
    "keep_every_box",
    "session_members",
    "used_between",
]

_EXPORTS = {
    "local.cloud.faults.board": ("FAULT_BOARD",),
    "local.cloud.faults.fault": ("FAULT_KINDS", "Fault", "FaultError"),
    "local.cloud.launcher": ("CloudError", "EmbeddedCloud"),
    "local.cloud.metering.meter": ("Usage", "used_between"),
    "local.cloud.process_tree": ("session_members",),
    "local.cloud.stepfunctions.jsonata_templates": ("Evaluation",),
    "local.console.server": ("CloudConsole",),
    "local.sagemaker.ground_truth.annotators": (
        "Annotation",
        "Annotator",
        "AnsweredBy",
        "Box",
        "Boxes",
        "Failure",
        "JobFails",
        "JobStops",
        "JobView",
        "Segments",
        "Verdict",
        "keep_every_box",
    ),
    "local.sagemaker.ground_truth.cuboids": ("Cuboid", "Cuboids", "Scene"),
    "local.sagemaker.ground_truth.sequences": ("TrackedBox", "Tracks", "VideoFrame", "VideoSequence"),
    "local.sagemaker.hosting.model_servers": ("ModelServer", "ModelServerFailed"),
    "local.records": ("UnreadableState",),
    "local.settings": ("ACCOUNT", "PEOPLE", "REGION", "STACK_WENT", "CloudSettings", "SettingsError"),
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}

# Type checkers see the imports above: with this function they would accept every name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name from its module."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)
