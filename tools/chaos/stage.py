"""The stage of all plans: one embedded cloud with the stack deployed once, and time-outs of seconds, not hours."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from autolabel_cli.models.catalogue import add_model, read_document
from autolabel_cli.stack import Stack
from local import CloudSettings, EmbeddedCloud
from tools.demo.deployment import PROJECT, STACK, deploy_endpoint, deploy_stack

MODEL = "chaos"
# The second one labels only drives that name it.
MODELS = (MODEL, "chaos-too")
# What the template's map QueueVisibility has for that timeout of the functions.
VISIBILITY_SECONDS = 6
PARAMETERS = {
    "QueueFunctionTimeoutSeconds": "5",
    "AwaitTimeoutSeconds": "3",
    "UnsubmittedAfterSeconds": "4",
    "MaxAnswerWaitSeconds": "8",
    "FirstWaitSeconds": "1",
    "FramesPatienceSeconds": "4",
    "FramesPollSeconds": "1",
    "AbandonedAfterSeconds": "2",
    "LogsQuietSeconds": "8",
    "SliceMegabytes": "1",
    "ShardFrames": "4",
    "PartFrames": "4",
    "MaxJobObjects": "8",
    "StripFrames": "6",
    "JobPollSeconds": "5",
}


@dataclass(frozen=True, eq=False)
class Stage:
    """The deployed pipeline, with access to its queues, functions and model."""

    cloud: EmbeddedCloud
    stack: Stack
    moods: Path

    @cache  # noqa: B019 - a stage lives as long as the process; a new client takes a tenth of a second
    def client(self, service: str) -> Any:
        return self.cloud.client(service)

    def set_moods(self, moods: Mapping[str, float]) -> None:
        """Make the model fail these shares of its requests, by mood (model.py)."""
        temporary = self.moods.with_suffix(".new")
        temporary.write_text(json.dumps(moods))
        temporary.replace(self.moods)

    @cache  # noqa: B019 - as above
    def queue_url(self, name: str) -> str:
        """URL of the queue with this logical name, such as `SubmitQueue`."""
        urls: list[str] = self.client("sqs").list_queues(MaxResults=1000)["QueueUrls"]
        return next(url for url in urls if f"-{name}-" in url)

    def messages(self, name: str) -> int:
        """Number of messages in a queue, hidden ones included."""
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        attributes = self.client("sqs").get_queue_attributes(QueueUrl=self.queue_url(name), AttributeNames=list(counts))
        return sum(int(attributes["Attributes"][count]) for count in counts)

    @cache  # noqa: B019 - as above
    def function(self, name: str) -> str:
        """The full name of the function with this logical name."""
        functions = self.client("lambda").list_functions(MaxItems=50)["Functions"]
        return next(str(f["FunctionName"]) for f in functions if f"-{name}-" in f["FunctionName"])


def until(look: Callable[[], bool], seconds: float, pause: float = 0.2) -> bool:
    """Poll `look` until it is true; False when that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            return False
        # It polls another process.
        time.sleep(pause)
    return True


@contextmanager
def set_stage(folder: Path, project: Path = PROJECT) -> Iterator[Stage]:
    """Start the cloud, deploy the stack and the models' endpoints; the cloud stops at the end of the block.

    `project`: the checkout whose stack is deployed; all else is this one's.
    """
    moods = folder / "moods.json"
    image = (sys.executable, "-m", "tools.chaos.model", "--port", "{port}", "--moods", str(moods))
    settings = CloudSettings(
        images=dict.fromkeys(MODELS, image),
        annotator="tools.chaos.annotators:annotate",
        annotator_is_person=True,
        wait_scale=0.1,
        max_workers=16,
        enforce_iam=True,
        faults=True,
    )
    with EmbeddedCloud(folder, settings=settings) as cloud:
        deploy_stack(cloud, folder, PARAMETERS, project)
        stack = Stack.find(STACK, cloud.client)
        document = read_document(PROJECT / "models" / "yolox-nano.json")
        for name in MODELS:
            model = msgspec.structs.replace(document, name=name, endpoint=name, invocation_timeout=2, queue_ttl=60)
            # Keeps the endpoint awake: tests/e2e covers its sleep.
            deploy_endpoint(cloud, stack.outputs, endpoint=name, image=name, parameters={"MinInstances": "1"})
            add_model(stack, model, active=name == MODEL)
        yield Stage(cloud, stack, moods)
