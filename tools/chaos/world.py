"""Plays a plan's events: endpoints are deleted, models fail, foreign messages come, operators intervene."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from tools.chaos.log_checker import extractions
from tools.chaos.operators import Operator
from tools.chaos.plans import WorldEvent
from tools.chaos.stage import MODEL, Stage, until

_NOTIFICATION = {
    "eventVersion": "1.0",
    "eventSource": "aws:sagemaker",
    "eventName": "InferenceResult",
    "invocationStatus": "Completed",
    "inferenceId": "chaos.0001.1.0123456789abcdef",
    "requestParameters": {"endpointName": "foreign", "inputLocation": "s3://elsewhere/drives/a/b/c.png"},
    "responseParameters": {"outputLocation": "s3://elsewhere/inference/out"},
}
_RECORD = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "elsewhere"}, "object": {}}}
_STRANGERS = (
    "",
    "not JSON",
    "[" * 50_000,
    "null",
    '{"Event": "s3:TestEvent"}',
    json.dumps({"eventSource": "aws:sagemaker", "eventName": "TestNotification"}),
    json.dumps({"Records": [_RECORD]}),
    json.dumps(
        {
            "Records": [
                {
                    **_RECORD,
                    "s3": {
                        "bucket": {"name": "elsewhere"},
                        "object": {"key": "drives/x/front/1700000000000000000.png", "eTag": "0", "size": 3},
                    },
                }
            ]
        }
    ),
    json.dumps({"kind": "unit", "unit": {"drive": "x"}, "key": "../../etc/passwd", "etag": "0"}),
    json.dumps(_NOTIFICATION),
    json.dumps({**_NOTIFICATION, "invocationStatus": "Failed", "failureReason": 7}),
)

# How long an operator waits for an extraction to stop.
_EXTRACTION_SECONDS = 10.0


class World:
    """Plays events, each on a thread of its own, from its creation on. `happened`: counts of those that took effect."""

    def __init__(self, stage: Stage, events: tuple[WorldEvent, ...], drives: list[str], operator: Operator) -> None:
        self.happened: Counter[str] = Counter()
        self._drives = drives
        self._operator = operator
        self._stage = stage
        self._endpoint = threading.Lock()
        self._config = ""
        # An event before the first upload takes effect before the upload begins.
        for event in events:
            if event.at < 0 and event.kind == "endpoint-away":
                self._delete()
        self._pool = ThreadPoolExecutor(max(1, len(events)))
        self._playing = [(event, self._pool.submit(self._play, event)) for event in events]

    @property
    def intervening(self) -> bool:
        """Whether an operator is not done."""
        return any(event.acts and not playing.done() for event, playing in self._playing)

    def heal(self) -> None:
        """Wait until every event is over, and reset the model's moods."""
        with self._pool:
            for _, playing in self._playing:
                playing.result()
        self._stage.set_moods({})

    def _play(self, event: WorldEvent) -> None:
        # The plan says when.
        time.sleep(max(0.0, event.at))
        match event.kind:
            case "runs-stopped" if not self._stop():
                return
            case "extractions-stopped" if not until(self._stop_extractions, _EXTRACTION_SECONDS, 0.05):
                return
            case "operator" if not self._intervene(event.acts):
                return
            case "moods":
                self._stage.set_moods(dict(event.moods))
                # The plan says how long.
                time.sleep(event.seconds)
                self._stage.set_moods({})
            case "strangers":
                self._write()
            case "endpoint-away":
                self._away(event.seconds)
            case "endpoint-update":
                self._update()
        self.happened[str(event)] += 1

    def _stop(self) -> bool:
        """Stop the running executions, as an operator may; whether there were any."""
        stopped = False
        for drive in self._drives:
            try:
                self._stage.client("stepfunctions").stop_execution(executionArn=self._operator.arn(drive))
                stopped = True
            except ClientError:
                # It has not started yet.
                continue
        return stopped

    def _stop_extractions(self) -> bool:
        """Stop the extractions that run; whether there were any."""
        stopped = False
        for drive in self._drives:
            for name, status in extractions(self._stage, drive):
                if status == "RUNNING":
                    arn = self._stage.stack.outputs["ExtractMachineArn"].replace(":stateMachine:", ":execution:")
                    self._stage.client("stepfunctions").stop_execution(executionArn=f"{arn}:{name}")
                    stopped = True
        return stopped

    def _intervene(self, acts: tuple[str, ...]) -> bool:
        """Let an operator act on each drive; whether each act was one of consequence for some drive."""
        acted = [[self._operator.intervene(drive, act) for act in acts] for drive in self._drives]
        return all(map(any, zip(*acted, strict=True)))

    def _away(self, seconds: float) -> None:
        with self._endpoint:
            config = self._delete()
            # The plan says how long.
            time.sleep(seconds)
            sagemaker = self._stage.client("sagemaker")
            until(lambda: _status(self._stage) == "", 20)
            sagemaker.create_endpoint(EndpointName=MODEL, EndpointConfigName=config)
            self._await_service()

    def _update(self) -> None:
        with self._endpoint:
            sagemaker = self._stage.client("sagemaker")
            config = sagemaker.describe_endpoint(EndpointName=MODEL)["EndpointConfigName"]
            sagemaker.update_endpoint(EndpointName=MODEL, EndpointConfigName=config)
            self._await_service()

    def _delete(self) -> str:
        """Delete the endpoint if it is in service; returns the name of its configuration."""
        sagemaker = self._stage.client("sagemaker")
        if _status(self._stage) == "InService":
            self._config = str(sagemaker.describe_endpoint(EndpointName=MODEL)["EndpointConfigName"])
            sagemaker.delete_endpoint(EndpointName=MODEL)
        return self._config

    def _await_service(self) -> None:
        if not until(lambda: _status(self._stage) == "InService", 30):
            raise AssertionError(f"the endpoint did not return: its status is {_status(self._stage)!r}")

    def _write(self) -> None:
        sqs = self._stage.client("sqs")
        for queue in ("SubmitQueue", "CollectQueue"):
            for body in _STRANGERS:
                sqs.send_message(QueueUrl=self._stage.queue_url(queue), MessageBody=body or " ")


def _status(stage: Stage) -> str:
    """The endpoint's status; empty when there is no endpoint."""
    try:
        return str(stage.client("sagemaker").describe_endpoint(EndpointName=MODEL)["EndpointStatus"])
    except ClientError:
        return ""
