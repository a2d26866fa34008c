"""Old runs: the definition that they go by, walked over the functions, and what a stack held at each of their steps.

A run is kept as a journal, an entry for each thing that happened:

| field | what |
| --- | --- |
| `at` | seconds since the beginning, by the clock that the functions see |
| `state` | the state whose request it is; without one, others did it |
| `function`, `service` | who was asked; without either, something `happens`, or the state ends with an `error` |
| `asked`, `queue` | the request; or how many messages of the submit queue, in order, the function was given |
| `answer`, `error` | what came back |
| `effects` | what the function called that others notice |
| `changes` | what is different in buckets, ledger and Label Studio; null for what is gone |

What a stack held before an entry is what all entries before it changed.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.model import OperationModel
from moto import mock_aws
from moto.backends import get_backend

from local.cloud.stepfunctions.jsonata_templates import Evaluation
from tests.contract.account import FRAME, Account, sample, unwatched_client
from tests.contract.conftest import REGION
from tests.contract.template import ACCOUNT, INGEST, LABELS, LEDGER
from tests.fakes.bucket import etag_of
from tests.fakes.label_studio import FakeLabelStudio

FOLDER = Path(__file__).parent
Json = Any
Entry = dict[str, Json]
# What a stack holds, flat: objects by `s3://<bucket>/<key>`, items by `ledger/<pk> <sk>`, Label Studio's by `studio/`.
State = dict[str, Json]

BEGAN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
# What the old stack put into its definition; functions are called by their folder here.
VALUES = {
    "Partition": "aws",
    "LabelBucket": LABELS,
    "MaxFailedPercent": "50",
    "AwaitTimeout": "900",
    "FramesPollSeconds": "60",
    "ShardConcurrency": "10",
    "VerifyTimeout": "2592000",
    "JobPollSeconds": "60",
    "ProjectPollSeconds": "900",
    "TaskTimeLimit": "3600",
    "TaskAvailability": "864000",
}
CONNECTION = {"url": "https://labels.example", "token": "T0KEN", "images": "storage"}
CONNECTION["webhook_secret"] = "a secret of webhooks"
# What a journal says shortly, the longest first.
SHORT = {
    "<run>": f"s3://{LABELS}/labels/drive-7/0001",
    "<ingest>": INGEST,
    "<labels>": LABELS,
    "<etag>": etag_of(FRAME),
    "<time>": "17000000000000000",
}
# The endpoint of this name knows no Filename: its answers lie where it says.
STUBBORN = "autolabel-wide"
# Calls by which others hear of a run; what SNS tells operators are sentences, and no program reads them.
EFFECTS = {"InvokeEndpointAsync", "StartExecution", "SendTaskSuccess", "PutEvents"}
# Pages and pictures are for people, and no function reads them again: only that they are there is kept.
PAGES = (".html", "segmentation/")


class Ended(Exception):
    """A call that ended with an error, by the name that Step Functions knows."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class World:
    """What an execution goes on in. `queue`: messages that wait for submit; `now`: seconds since the run's account
    began; `woken`: the tokens that functions sent."""

    def __init__(self) -> None:
        self.now = 0
        self.queue: list[Json] = []
        self.woken: set[str] = set()

    def happen(self, asked: Entry) -> Json:
        """One thing happens; what is answered. Ended for an error."""
        raise NotImplementedError

    def others(self, state: str) -> None:
        """What others do while the execution is in this state and waits."""
        raise NotImplementedError

    def lines(self, uri: str) -> list[Json]:
        """The lines of an object."""
        raise NotImplementedError

    def wait(self, state: str, token: str) -> Json:
        self.others(state)
        return {"woken": True} if token in self.woken else self.happen({"state": state, "error": "States.Timeout"})

    def messages(self, entry: Entry) -> Entry:
        """The request of a function; an entry with `queue` takes that number of messages from the queue."""
        if "queue" not in entry:
            return dict(entry["asked"])
        messages, self.queue = self.queue[: entry["queue"]], self.queue[entry["queue"] :]
        return {"messages": messages}

    def note(self, done: Entry) -> None:
        """Take in what a function called."""
        for effect in done.get("effects", []):
            self.queue = in_order([*self.queue, *effect.get("SendMessage", [])])
            self.woken |= {effect["SendTaskSuccess"]["taskToken"]} if "SendTaskSuccess" in effect else set()


class Execution:
    """An execution of the old definition. `ways`: what its choices chose; `until`: a state before which it stops."""

    def __init__(self, data: Json, world: World, until: str = "") -> None:
        self._data = data
        self._world = world
        self._until = until
        self._redrives = 0
        self.ways: set[tuple[str, str]] = set()

    def run(self) -> Json:
        return self._walk(definition(), self._data)

    def _walk(self, scope: Json, data: Json, item: Json = None) -> Json:
        name = scope["StartAt"]
        while name and name != self._until:
            name, data = self._step(name, scope["States"][name], data, item)
        return data

    def _step(self, name: str, state: Json, data: Json, item: Json) -> tuple[str | None, Json]:
        context = {
            "Execution": {"Input": self._data, "StartTime": iso(0), "RedriveCount": self._redrives},
            "State": {"EnteredTime": iso(self._world.now), "RetryCount": 0},
            "Task": {"Token": f"token of {name} at {self._world.now}"},
            **({"Map": {"Item": item}} if item else {}),
        }
        if state["Type"] == "Choice":
            met = (choice["Next"] for choice in state["Choices"] if evaluate(choice["Condition"], data, context))
            chosen = next(met, state["Default"])
            self.ways.add((name, chosen))
            return chosen, data
        try:
            result = self._result(name, state, data, context)
        except Ended as e:
            told = {"Error": e.error, "Cause": "as a person sees it"}
            for catcher in state.get("Catch", []):
                if {e.error, "States.ALL"} & {*catcher["ErrorEquals"]}:
                    return catcher["Next"], evaluate(catcher["Output"], data, context, error=told)
            # The execution fails; a person looks, and has it go on from here.
            self._world.others(name)
            self._redrives += 1
            return name, data
        output = evaluate(state["Output"], data, context, result=result) if "Output" in state else result
        return state.get("Next"), output

    def _result(self, name: str, state: Json, data: Json, context: Json) -> Json:
        if state["Type"] == "Wait":
            assert evaluate(state["Seconds"], data, context) > 0
            self._world.others(name)
        if state["Type"] == "Map":
            return self._map(state, data, context)
        if state["Type"] != "Task":
            return data
        arguments = evaluate(state["Arguments"], data, context)
        service = state["Resource"].rpartition(":::")[2]
        if not service.startswith("lambda:"):
            return self._world.happen({"state": name, "service": service, "asked": arguments})
        asked = {"state": name, "function": arguments["FunctionName"], "asked": arguments["Payload"]}
        answer = self._world.happen(asked)
        if service.endswith(".waitForTaskToken"):
            assert evaluate(state["TimeoutSeconds"], data, context) > 0
            return self._world.wait(name, context["Task"]["Token"])
        return {"Payload": answer}

    def _map(self, state: Json, data: Json, context: Json) -> Json:
        if "ItemReader" in state:
            place = evaluate(state["ItemReader"]["Arguments"], data, context)
            items = self._world.lines(f"s3://{place['Bucket']}/{place['Key']}")
        else:
            items = evaluate(state["Items"], data, context)
        results = []
        for index, value in enumerate(items):
            item = {"Index": index, "Value": value}
            chosen = evaluate(state["ItemSelector"], data, {**context, "Map": {"Item": item}})
            results.append(self._walk(state["ItemProcessor"], chosen, item))
        return results


@cache
def definition() -> Json:
    def value(match: re.Match[str]) -> str:
        return VALUES.get(match[1], match[1].lower().partition("function")[0])

    return yaml.safe_load(re.sub(r"\$\{(\w+)\}", value, (FOLDER / "label_drive.asl.yaml").read_text()))


_evaluated: dict[str, Json] = {}


def evaluate(template: Json, data: Json, context: Json, **shown: Json) -> Json:
    """A template's value; a walk begins with what the walk before it evaluated."""
    key = compact([template, data, context, shown])
    if key not in _evaluated:
        _evaluated[key] = Evaluation(data, context, {}).template(template, **shown)
    return json.loads(json.dumps(_evaluated[key]))


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(BEGAN.timestamp() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class OldAccount(Account):
    """An account with an endpoint that names its answers itself."""

    def answer(self, model: OperationModel) -> Any:
        response, parsed = super().answer(model)
        if model.name == "InvokeEndpointAsync" and (asked := self.called(model.name)[-1])["EndpointName"] == STUBBORN:
            parsed["OutputLocation"] = f"s3://{LABELS}/inference/{asked['InferenceId']}.out"
        return response, parsed


class Stage:
    """A stack on which entries are carried out, at their time by the clock. `settings`: of the functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.account = OldAccount(monkeypatch)
        self.settings: dict[str, str] = {}
        self.studio = FakeLabelStudio()
        self._monkeypatch = monkeypatch
        self._s3, self._db = unwatched_client("s3"), unwatched_client("dynamodb")
        self._bodies: dict[tuple[str, str], Json] = {}
        # The content at the last look, if nothing has happened since: a look takes as long as a function call.
        self._held: State | None = None
        monkeypatch.setattr(
            "autolabel.verification.label_studio.client.LabelStudioClient", lambda connection, secret: self.studio
        )

    def perform(self, function: str, event: Json, at: int) -> Entry:
        """Have a function take a request; its answer, or its error and what it says, and its effects."""
        if "messages" in event:
            event = {"Records": [_record(message) for message in event["messages"]]}
        self._held = None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "time", lambda: BEGAN.timestamp() + at)
            try:
                done: Json = {"answer": self.account.invoke(function, event, **self.settings)}
            except Exception as e:  # Step Functions knows an error by its class
                done = {"error": type(e).__name__, "said": str(e)}
        effects: list[Json] = [
            {call.operation: call.parameters} for call in self.account.calls if call.operation in EFFECTS
        ]
        sent = [entry["MessageBody"] for call in self.account.called("SendMessageBatch") for entry in call["Entries"]]
        sent += [call["MessageBody"] for call in self.account.called("SendMessage")]
        if sent:
            effects.append({"SendMessage": in_order(map(json.loads, sent))})
        done |= {"effects": in_order(effects)} if effects else {}
        # As Lambda hands it on.
        handed: Entry = json.loads(json.dumps(done))
        return handed

    def read(self) -> State:
        """What the stack holds."""
        if self._held is None:
            self._held = dict(sorted(self._read().items()))
        return self._held

    def _read(self) -> State:
        state: State = {f"studio/{place}": value for place, value in self.studio.kept().items()}
        # From moto's own memory: to list and to read takes a client longer than most functions take.
        for bucket in (INGEST, LABELS):
            for key, thing in get_backend("s3")[ACCOUNT]["aws"].buckets[bucket].keys.items():
                uri = f"s3://{bucket}/{key}"
                if (uri, thing.etag) not in self._bodies:
                    self._bodies[uri, thing.etag] = encode(uri, thing.value)
                state[uri] = self._bodies[uri, thing.etag]
        for item in self._db.scan(TableName=LEDGER)["Items"]:
            state[f"ledger/{item.pop('pk')['S']} {item.pop('sk')['S']}"] = item
        return state

    def write(self, changes: State) -> None:
        """Change what the stack holds; what is None goes."""
        studio = self.studio.kept()
        self._held = None
        for place, value in changes.items():
            kind, _, rest = place.partition("/")
            if kind == "studio":
                studio[rest] = value
            elif kind == "ledger":
                pk, _, sk = rest.partition(" ")
                at = {"pk": {"S": pk}, "sk": {"S": sk}}
                if value is None:
                    self._db.delete_item(TableName=LEDGER, Key=at)
                else:
                    self._db.put_item(TableName=LEDGER, Item=at | value)
            else:
                bucket, key = rest[1:].split("/", 1)
                if value is None:
                    self._s3.delete_object(Bucket=bucket, Key=key)
                else:
                    self._s3.put_object(Bucket=bucket, Key=key, Body=decode(value))
        self.studio.restore({place: value for place, value in studio.items() if value is not None})

    def restore(self, state: State) -> None:
        """Have the stack hold this and nothing else."""
        self.write(difference(self.read(), state))
        self._held = state


@contextmanager
def stage() -> Iterator[Stage]:
    """A stack in an account of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in (("ACCESS_KEY_ID", "testing"), ("SECRET_ACCESS_KEY", "testing"), ("DEFAULT_REGION", REGION)):
            patch.setenv(f"AWS_{name}", value)
        with mock_aws():
            stack = Stage(patch)
            yield stack
            stack.account.leave()


def _record(message: Json) -> Json:
    (record,) = sample("submit-close")["Records"]
    return {**record, "body": compact(message)}


def difference(before: State, after: State) -> State:
    """What changed; None for what is gone."""
    places = sorted({*before, *after})
    return {place: after.get(place) for place in places if before.get(place) != after.get(place)}


def encode(uri: str, body: bytes) -> Json:
    """An object's bytes as JSON that a person can read and that gives the same bytes again."""
    if any(part in uri for part in PAGES):
        return {"page": True}
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}
    try:
        lines = [json.loads(line) for line in text.splitlines()]
    except ValueError:
        lines = []
    forms: list[Json] = [{"json": next(iter(lines), None)}, {"lines": lines}, {"text": text}]
    return next(form for form in forms if decode(form) == body)


def decode(value: Json) -> bytes:
    ((form, content),) = value.items()
    if form == "base64":
        return base64.b64decode(content)
    if form == "lines":
        return "".join(compact(line) + "\n" for line in content).encode()
    return {"json": compact(content), "text": str(content), "page": "a page"}[form].encode()


def compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def in_order(values: Any) -> list[Json]:
    return sorted(values, key=compact)


def read_journal(name: str) -> Json:
    text = (FOLDER / f"{name}.json").read_text()
    for short, long in SHORT.items():
        text = text.replace(short, long)
    return json.loads(text)


def write_journal(name: str, journal: Json) -> None:
    text = _pretty(journal, 4)
    for short, long in SHORT.items():
        text = text.replace(long, short)
    (FOLDER / f"{name}.json").write_text(text + "\n")


def _pretty(value: Json, depth: int, indent: str = "") -> str:
    """JSON with a line for each part down to a depth."""
    if not depth or not isinstance(value, dict | list) or len(compact(value)) < 120 - len(indent):
        return compact(value)
    deeper = indent + " "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + _pretty(one, depth - 1, deeper) for one in value) + f"\n{indent}]"
    rows = (f"{deeper}{compact(key)}: {_pretty(one, depth - 1, deeper)}" for key, one in value.items())
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
