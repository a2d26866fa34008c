"""Runs the real state machine on the embedded cloud's interpreter, with the answers of a large drive."""

from __future__ import annotations

import io
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
import yaml

from autolabel.datasets.lifting import PartLifted
from autolabel.datasets.parts import Part
from autolabel.datasets.publication import PartDone, PartsPlan, Publication
from autolabel.datasets.verified_labels import FinishedJob
from autolabel.inference.reconcile_pass import Cursor, PassProgress, PassReport, verdict_of
from autolabel.inference.reconciliation import PassCounts
from autolabel.labelling.plan import Plan
from autolabel.labelling.shards import LabelledShard, Shard
from autolabel.sequences.run_links import LinkCursor, LinkReport
from autolabel.verification.jobs import JobRound
from autolabel.verification.settlement import Settled
from local.cloud.stepfunctions.engine import Engine
from local.cloud.stepfunctions.executions import Execution, Machine
from local.cloud.stepfunctions.history import EVENT_LIMIT
from local.cloud.stepfunctions.integrations.clients import RoleClients
from local.cloud.stepfunctions.jsonata_templates import Evaluation
from tests.contract.template import resources, state_machine_text, template
from tools.bench.work.assembling import assemble
from tools.bench.work.drive import CAMERA, DRIVE, FOLDER, MODEL, PART_FRAMES, RUN, SHARD_FRAMES, frame_key
from tools.bench.work.pace import Pace

_ARN = "arn:aws:states:us-east-1:000000000000:stateMachine:autolabel-label-drive"
# Delay of the answer to AwaitInference, so that the history has both events, as on AWS.
_WAKE_SECONDS = 0.02
# Calls that lift a part of PART_FRAMES frames.
_LIFT_CALLS = 8


def definition() -> dict[str, Any]:
    """The definition with the template's default parameters; each ARN is the name of its substitution."""
    machine = resources("AWS::Serverless::StateMachine")["LabelDriveStateMachine"]["Properties"]
    given, parameters = machine["DefinitionSubstitutions"], template()["Parameters"]

    def value(match: re.Match[str]) -> str:
        name = match[1]
        parameter = given[name].get("Ref")
        return "aws" if name == "Partition" else str(parameters.get(parameter, {}).get("Default", name))

    document: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+)\}", value, state_machine_text()))
    return document


def run_execution(frames: int, waits: int, calls: int) -> dict[str, Any]:
    """Run the execution of a drive of `frames` frames with `waits` waits and `calls` calls in each reconcile pass.

    Returns `events` of the execution, `turn_events` of a pass, `shard_events` of a shard, `transitions` of all
    executions, and `payloads`: the largest input or output of each state, in bytes.
    """
    ended = threading.Event()
    account = _Account(frames, waits, calls)
    # The interpreter asks for nothing but clients, which _Account stands in for.
    clients = cast(RoleClients, account)
    engine = Engine(
        clients, 0.0, lambda execution: ended.set() if execution.status != "RUNNING" else None, lambda machine: None
    )
    account.engine = engine
    document = definition()
    machine = Machine(_ARN, "autolabel-label-drive", "role", document, json.dumps(document))
    execution = engine.start(machine, f"{DRIVE}-{RUN}", json.dumps({"drive": DRIVE, "run": RUN}))
    ended.wait()
    if execution.status != "SUCCEEDED":
        raise AssertionError(f"the execution {execution.status}: {execution.error} {execution.cause}")
    maps = engine.store.map_runs(execution.arn)
    shards, children = maps[0].children, [child for one in maps for child in one.children]
    histories = [one.history.events() for one in (execution, *children)]
    turns = [len(turn) for turn in _turns(histories[0])]
    entered = sum(event["type"].endswith("StateEntered") for events in histories for event in events)
    return {
        # AWS's history has a TaskSubmitted for each labelling job, and this interpreter's does not.
        "events": len(histories[0]) + len(account.assembly.jobs),
        # The last one: the first also has the start of the execution.
        "turn_events": turns[-1],
        "shard_events": max(len(one.history.events()) for one in shards),
        # The start of an execution counts as one.
        "transitions": entered + len(histories),
        "shards": len(shards),
        "jobs": len(account.assembly.jobs),
        "payloads": _payloads(execution, children),
    }


def _turns(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The events of each reconcile pass that ends in a wait."""
    turn: list[dict[str, Any]] = []
    for event in events:
        turn.append(event)
        if event["type"] == "TaskStateExited" and event["stateExitedEventDetails"]["name"] == "AwaitInference":
            yield turn
            turn = []


def _payloads(execution: Execution, children: list[Execution]) -> dict[str, int]:
    largest: dict[str, int] = {}
    for one in (execution, *children):
        for event in one.history.events():
            for kind, text in (("stateEnteredEventDetails", "input"), ("stateExitedEventDetails", "output")):
                if kind in event:
                    name = event[kind]["name"]
                    largest[name] = max(largest.get(name, 0), len(event[kind][text].encode()))
    return largest


def wait_until_full(state: str, field: str, events: int) -> dict[str, float]:
    """`days` that a run can wait in a state that every reconcile pass enters, until the history is full."""
    expression = definition()["States"][state][field]
    seconds = sum(
        Evaluation({"turn": turn + 1}, {}, {}).number(field, expression) for turn in range(EVENT_LIMIT // events)
    )
    return {"days": seconds / 86_400}


class _Account:
    """Answers the calls of the state machine, for any role and service. `engine` runs it."""

    engine: Engine

    def __init__(self, frames: int, waits: int, calls: int) -> None:
        self._frames = frames
        self._waits = waits
        self._calls = calls
        self._reports = 0
        self._lifts: Counter[int] = Counter()
        self._functions = {
            "ReconcileFunctionArn": self._reconcile,
            "PlanFunctionArn": self._plan,
            "LabelFunctionArn": self._label,
            "LinkFunctionArn": self._link,
            "AssembleFunctionArn": self._assemble,
            "VerifyFunctionArn": self._settle,
            "LiftFunctionArn": self._lift,
            "PublishFunctionArn": self._publish,
        }
        self._jobs: dict[str, dict[str, Any]] = {}
        self.assembly = assemble(frames, Pace(frames, "", short=0, stops=0))

    def of(self, role: str) -> _Account:
        return self

    def __getitem__(self, service: str) -> _Account:
        return self

    def invoke(self, **arguments: Any) -> dict[str, Any]:
        answer = self._functions[arguments["FunctionName"]](json.loads(arguments["Payload"]))
        return {"StatusCode": 200, "Payload": msgspec.json.encode(answer)}

    def _reconcile(self, event: dict[str, Any]) -> Any:
        if "token" in event:
            attempt = self.engine.tokens.find(event["token"])
            assert attempt is not None
            threading.Timer(_WAKE_SECONDS, attempt.succeed, [{}]).start()
            return {"woken": False}
        progress = msgspec.convert(event["progress"], PassProgress)
        self._reports += 1
        last = self._reports % self._calls == 0
        waits = self._reports <= self._waits * self._calls
        frames = self._frames
        counts = PassCounts(**dict.fromkeys(PassCounts.__struct_fields__, frames))
        report = PassReport(
            drive=DRIVE,
            run=RUN,
            turn=progress.turn + (progress.cursor is None),
            retried=False,
            frames=frames,
            refused=frames,
            units=frames,
            answered=frames,
            failed=0,
            pending=frames if waits else 0,
            submitted=frames,
            resubmitted=frames,
            dropped=frames,
            paused=(f"{MODEL.id}: endpoint {'e' * 63} is RollingBack",) if waits else (),
            cursor=None if last else Cursor(0, frame_key(frames // 2).position, counts),
        )
        return msgspec.structs.replace(report, verdict=verdict_of(report, 50))

    def _plan(self, event: dict[str, Any]) -> Any:
        return Plan(DRIVE, RUN, self._frames // SHARD_FRAMES, self._frames, FOLDER.shard_list, earlier=False)

    def _label(self, event: dict[str, Any]) -> Any:
        shard = msgspec.convert(event["shard"], Shard)
        # As functions/label answers.
        return {"shard": shard.index, "labelled": shard.frames, "failed": 0, "rejected": 0, "boxes": 30 * shard.frames}

    def _link(self, event: dict[str, Any]) -> Any:
        return LinkReport(DRIVE, RUN, "done", LinkCursor())

    def _assemble(self, event: dict[str, Any]) -> Any:
        return self.assembly

    def _publish(self, event: dict[str, Any]) -> Any:
        if "part" in event:
            part = msgspec.convert(event["part"], Part)
            return PartDone(DRIVE, RUN, part.number, part.frames)
        if "plan" in event:
            return PartsPlan(DRIVE, RUN, len(self._parts()), FOLDER.part_list, lift=True)
        jobs = msgspec.convert(event["jobs"], tuple[FinishedJob, ...])
        frames = msgspec.to_builtins(self.assembly.frames)
        verified = sum(job.frames for job in jobs)
        uri = self.assembly.summary
        return Publication(DRIVE, RUN, uri, uri, uri, frames, self.assembly.boxes, verified, 0)

    def _lift(self, event: dict[str, Any]) -> Any:
        part = msgspec.convert(event["part"], Part)
        self._lifts[part.number] += 1
        return PartLifted(DRIVE, RUN, part.number, self._lifts[part.number] == _LIFT_CALLS, part.frames)

    def _settle(self, event: dict[str, Any]) -> Any:
        one = msgspec.convert(event["settle"], JobRound)
        return Settled(one.job, one.manifest, one.frames, verified=one.frames)

    def _parts(self) -> list[Part]:
        shards = [
            LabelledShard(index, CAMERA, SHARD_FRAMES, index * SHARD_FRAMES, SHARD_FRAMES * 5_000)
            for index in range(self._frames // SHARD_FRAMES)
        ]
        each = PART_FRAMES // SHARD_FRAMES
        return [
            Part(number, tuple(shards[first : first + each]), first * SHARD_FRAMES, self._frames, earlier=False)
            for number, first in enumerate(range(0, len(shards), each))
        ]

    def get_object(self, **arguments: Any) -> dict[str, Any]:
        items: Sequence[msgspec.Struct] = self._parts()
        if arguments["Key"] != FOLDER.part_list:
            items = [
                Shard(index, CAMERA, SHARD_FRAMES, FOLDER.shard(index, "frames.jsonl"))
                for index in range(self._frames // SHARD_FRAMES)
            ]
        return {"Body": io.BytesIO(b"\n".join(map(msgspec.json.encode, items)))}

    def put_object(self, **arguments: Any) -> None:
        pass

    def create_labeling_job(self, **arguments: Any) -> dict[str, Any]:
        self._jobs[arguments["LabelingJobName"]] = arguments
        return {}

    def describe_labeling_job(self, **arguments: Any) -> dict[str, Any]:
        job = self._jobs[arguments["LabelingJobName"]]
        path = f"{job['OutputConfig']['S3OutputPath']}/{job['LabelingJobName']}"
        output = {"OutputDatasetS3Uri": f"{path}/manifests/output/output.manifest"}
        return {**job, "LabelingJobStatus": "Completed", "LabelingJobOutput": output}
