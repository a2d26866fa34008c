"""Other ways to label frames, run on the same cloud: an execution for each frame, and a notebook's loop."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from autolabel.contracts.units import TRIAL
from autolabel_cli.models.trial import FOLDER
from autolabel_cli.stack import Stack
from local import EmbeddedCloud

_STEPS = 5
# The notebook looks for an answer at once, and then at this pace.
_LOOK_SECONDS = 0.5
_CLOSE_LOOK_SECONDS = 0.02
_PATIENCE = 60.0


def run_executions(cloud: EmbeddedCloud, stack: Stack, frames: int) -> str:
    """Run an execution of five states for each frame, and return the state machine's name.

    The states do nothing: what an upload, an inference and an answer cost comes on top.
    """
    states = cloud.client("stepfunctions")
    names = [f"Step{number}" for number in range(_STEPS)]
    bodies: dict[str, dict[str, Any]] = {
        name: {"Type": "Pass", "Next": after} for name, after in zip(names, [*names[1:], ""], strict=True)
    }
    bodies[names[-1]] = {"Type": "Pass", "End": True}
    role = states.describe_state_machine(stateMachineArn=stack.outputs["StateMachineArn"])["roleArn"]
    machine = "frame"
    arn = states.create_state_machine(
        name=machine,
        roleArn=role,
        definition=json.dumps({"QueryLanguage": "JSONata", "StartAt": names[0], "States": bodies}),
    )["stateMachineArn"]
    started = [states.start_execution(stateMachineArn=arn, input="{}")["executionArn"] for _ in range(frames)]
    for execution in started:
        _await(partial(_has_ended, states, execution))
    return machine


def run_notebook(stack: Stack, endpoint: str, frames: int, body: bytes, *, one_by_one: bool = False) -> None:
    """Upload each frame and invoke the model for it; then wait for each answer and read it, and write one manifest.

    With `one_by_one`, it waits for the answer of a frame before it uploads the next, and looks often. The keys are
    those of trials: the functions of the stack leave them alone.
    """
    s3, runtime, bucket = stack.client("s3"), stack.client("sagemaker-runtime"), stack.labels.name
    answers = {}
    for number in range(frames):
        key = f"models/{FOLDER}/notebook-{number}.png"
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        asked = runtime.invoke_endpoint_async(
            EndpointName=endpoint,
            InputLocation=f"s3://{bucket}/{key}",
            InferenceId=f"{TRIAL}{number}",
            S3OutputPathExtension=f"{FOLDER}/notebook-{uuid.uuid4()}",
            Filename=f"{number}.out",
            ContentType="image/png",
        )
        answers[key] = asked["OutputLocation"].removeprefix(f"s3://{bucket}/")
        if one_by_one:
            _await(partial(stack.labels.read, answers[key]), _CLOSE_LOOK_SECONDS)
    for answer in () if one_by_one else answers.values():
        _await(partial(stack.labels.read, answer))
    lines = (json.dumps({"source-ref": f"s3://{bucket}/{key}"}) for key in answers)
    s3.put_object(Bucket=bucket, Key=f"models/{FOLDER}/notebook.manifest", Body="\n".join(lines).encode())


# `Any`: boto3's client.
def _has_ended(states: Any, execution: str) -> bool:
    return bool(states.describe_execution(executionArn=execution)["status"] != "RUNNING")


def _await(look: Callable[[], object], pace: float = _LOOK_SECONDS) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing came within {_PATIENCE:g} s")
        time.sleep(pace)
