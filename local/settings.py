"""The settings of an embedded cloud, and the account and Region that all of its parts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

REGION = "us-east-1"
ACCOUNT = "000000000000"
# The annotator of a cloud whose labelling jobs wait for people at the portal.
PEOPLE = "people"
# StackStatusReason of a stack that went with the cloud that it was in.
STACK_WENT = "The embedded cloud of this stack has ended"


class SettingsError(ValueError):
    """A setting of the embedded cloud is malformed."""


@dataclass(frozen=True)
class CloudSettings:
    """The settings of one embedded cloud; all values can be written as JSON.

    images: container image name (URI without registry and tag) to the command line of a model server; "{port}" in it is
        replaced.
    training_images: the same for images of training jobs; the command finds its folders below SAGEMAKER_BASE_DIR.
    annotator: "module:function" that answers labelling jobs, or PEOPLE: the jobs wait at the cloud's worker portal.
    annotator_is_person: the annotator's labels say "human-annotated": "yes", as those of people at the portal do. A
        script's say "no".
    wait_scale: factor on retry back-off and Wait states of state machines.
    alarm_scale: factor on the periods of alarms and on the cooldowns of scaling, so that endpoints can start and stop
        within seconds.
    stopped_manifest_delay: seconds between the end of a stopped labelling job and its output manifest. 0: the manifest
        is there before the job is Stopped. None: it is never written.
    max_workers: function processes alive at once.
    enforce_iam: functions, state machines, endpoints and labelling jobs may do only what their roles' policies allow;
        the caller of the API may do everything.
    faults: the cloud injects faults on demand (local/cloud/faults). Faults of calls need enforce_iam, because callers
        are told apart by their roles.
    meter: the cloud counts what AWS would bill (local/cloud/metering). Callers of requests are told apart only with
        enforce_iam.
    latencies: service to the seconds that each of its requests to the gateway waits, in ministack's names ("s3"). What
        services do inside the cloud, as deliveries and polls of queues, does not wait.
    keep: the cloud keeps its state in its folder, and begins with the state that the cloud before it kept there
        (local/cloud/keeping).
    """

    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    training_images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    annotator: str = "local:keep_every_box"
    annotator_is_person: bool = False
    wait_scale: float = 1.0
    alarm_scale: float = 1.0
    stopped_manifest_delay: float | None = 0.0
    max_workers: int = 8
    enforce_iam: bool = False
    faults: bool = False
    meter: bool = False
    latencies: Mapping[str, float] = field(default_factory=dict)
    keep: bool = False

    def __post_init__(self) -> None:
        for image, command in [*self.images.items(), *self.training_images.items()]:
            if isinstance(command, str) or not command:
                raise SettingsError(f"the command of image {image!r} must be a list of arguments, got {command!r}")
        module, _, function = self.annotator.partition(":")
        if self.annotator != PEOPLE and not (module and function):
            raise SettingsError(f"annotator must be {PEOPLE!r} or look like 'module:function', got {self.annotator!r}")
        if self.wait_scale < 0:
            raise SettingsError(f"wait_scale must not be negative, got {self.wait_scale}")
        if self.alarm_scale <= 0:
            raise SettingsError(f"alarm_scale must be positive, got {self.alarm_scale}")
        if self.stopped_manifest_delay is not None and self.stopped_manifest_delay < 0:
            raise SettingsError(f"stopped_manifest_delay must not be negative, got {self.stopped_manifest_delay}")
        for service, seconds in self.latencies.items():
            if seconds < 0:
                raise SettingsError(f"latencies[{service!r}] must not be negative, got {seconds}")
        if self.max_workers < 1:
            raise SettingsError(f"max_workers must be at least 1, got {self.max_workers}")
