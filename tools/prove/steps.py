"""The steps of a world: every call that a process may make next, and every event that may happen by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError
from msgspec.structs import replace

from autolabel.contracts.drive import execution_name
from autolabel.contracts.frames import parse_frame_key
from autolabel.contracts.units import Unit
from autolabel.inference.reconciliation import Limits
from autolabel.inference.submission import ObjectEvent
from tests.fakes.bucket import etag_of
from tests.fakes.endpoints import Invocation, failure, success
from tests.fakes.pipeline import drive_document, s3_message
from tools.prove.functions import INGEST, LABELS, RUN, Functions
from tools.prove.promises import NO_FAILURE, ONE_EXECUTION, Promises
from tools.prove.replay import Call, Position
from tools.prove.schedule import subject
from tools.prove.services import Buckets, Table, item_name, refused
from tools.prove.world import LONG, MODEL, NOW, Budget, Interned, Stage, State, Step, Violation, World

# Nothing here reads a frame's bytes.
FRAME = b"frame"
# Number of the answer that nothing was found; other answers have numbers from 0.
NOTHING = -1


class Steps:
    """The first state of a world, and the states that follow a state."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.drives = tuple(sorted({parse_frame_key(key).drive for key in world.frames + world.late}))
        self.units = [
            Unit.of(parse_frame_key(key), etag_of(FRAME), MODEL) for key in self.world.frames + self.world.late
        ]
        limits = Limits(unsubmitted_after=LONG / 2, max_unanswered=world.max_unanswered, max_failed_percent=50.0)
        self._functions = Functions(limits, world.code)
        self._table, self._buckets = Table(world.page), Buckets(world.page)
        self.items, self.objects = Interned(), Interned()
        self.messages, self.requests = Interned(), Interned()
        self._answers, self._calls = Interned(), Interned()
        self._effects: dict[tuple[int, bool, int], tuple[int, Any, int]] = {}
        self._positions: dict[int, Position] = {}
        self._starts: dict[tuple[str, Any], Position] = {}
        self._scopes: dict[int, str] = {}
        self._written = self._partitions()
        self._promises = Promises(self)

    def _partitions(self) -> frozenset[str]:
        """The partitions of the table that a call may write to; all others stay as they are."""
        kinds = ["pending"]
        if self.world.budget.failures or self.world.budget.delays >= self.world.max_unanswered:
            kinds.append("failed")
        if not self.world.honours_names:
            kinds.append("answer")
        units = {f"{kind}#{unit.drive}#{unit.partition}" for kind in kinds for unit in self.units}
        return frozenset(units | {f"drive#{drive}" for drive in self.drives} | {"closed", "late"})

    def start(self) -> State:
        """The state in which all frames except late ones are uploaded and reported, and no function has run."""
        documents = {f"drives/{drive}/drive.json": drive_document() for drive in self.drives}
        uploads = {**dict.fromkeys(self.world.frames, FRAME), **documents}
        state = State(
            items=self.items.number({}),
            objects=self._objects({f"{INGEST}/{key}": body for key, body in uploads.items()}),
            submit=tuple(sorted(self._upload(key, body) for key, body in uploads.items())),
            collect=(),
            asked=(),
            elsewhere=(),
            processes=(),
            stages=(Stage(),) * len(self.drives),
            failed=(),
            clock=0,
            late=self.world.late,
            budget=Budget(),
        )
        while self.world.begun and (state.submit or state.processes):
            _, state = next(self._processes(state) if state.processes else self._deliveries(state))
        return replace(state, budget=self.world.budget)

    def _upload(self, key: str, body: bytes) -> int:
        return self._message(s3_message(ObjectEvent(INGEST, key, etag_of(body), len(body))))

    def _message(self, body: str, *, again: bool = False) -> int:
        """The number of a message to submit; `again`: a call that had it died."""
        return self.messages.number((body, again))

    def _objects(self, objects: Any) -> int:
        return self.objects.number(objects)

    def after(self, state: State) -> Iterator[tuple[Step, State]]:
        """Every step that may come next, with the state after it; Violation when it breaks a promise."""
        yield from self._deliveries(state)
        yield from self._processes(state)
        yield from self._endpoint(state)
        yield from self._machine(state)
        budget = state.budget
        if budget.delays:
            less = replace(budget, delays=budget.delays - 1)
            yield Step("all deadlines pass"), replace(state, clock=state.clock + 1, budget=less)
        for key in state.late:
            uploaded = {**self.objects.values[state.objects], f"{INGEST}/{key}": FRAME}
            yield (
                Step(f"{key} is uploaded"),
                replace(
                    state,
                    objects=self._objects(uploaded),
                    submit=_with(state.submit, self._upload(key, FRAME)),
                    late=tuple(other for other in state.late if other != key),
                ),
            )

    def quiet(self, state: State) -> bool:
        """Whether no function runs and no message is on its way; only a time-out can wake a waiting run."""
        return not (state.submit or state.collect or state.asked or state.processes or state.late) and all(
            stage.name in ("none", "waiting", "passed") for stage in state.stages
        )

    def passed(self, state: State) -> bool:
        """Whether all runs have passed."""
        return all(stage.name == "passed" for stage in state.stages)

    def check_quiet(self, state: State) -> None:
        """Check what must hold in a quiet state."""
        self._promises.check_quiet(state)

    # Queues

    def _deliveries(self, state: State) -> Iterator[tuple[Step, State]]:
        budget = state.budget
        for message in sorted(set(state.submit)):
            start = self._begin("submit", self.messages.values[message])
            yield from self._advance(replace(state, submit=_without(state.submit, message)), start)
            if budget.duplicates:
                less = replace(budget, duplicates=budget.duplicates - 1)
                yield from self._advance(replace(state, budget=less), start, "and it stays on the queue")
            if budget.losses and "drive.json" not in self.messages.values[message][0]:
                less = replace(budget, losses=budget.losses - 1)
                lost = replace(state, submit=_without(state.submit, message), budget=less)
                yield Step(f"lost on the submit queue: {subject(start)}"), lost
        for batch in self._batches(state.collect):
            start = self._begin("collect", tuple(self.messages.values[message] for message in batch))
            rest = state.collect
            for message in batch:
                rest = _without(rest, message)
            yield from self._advance(replace(state, collect=rest), start)
            if budget.duplicates:
                less = replace(budget, duplicates=budget.duplicates - 1)
                for message in sorted(set(batch)):
                    stays = replace(state, collect=_with(rest, message), budget=less)
                    yield from self._advance(stays, start, "and one stays on the queue")
            if budget.losses and len(batch) == 1:
                less = replace(budget, losses=budget.losses - 1)
                yield Step(f"lost on the collect queue: {subject(start)}"), replace(state, collect=rest, budget=less)

    def _batches(self, messages: tuple[int, ...]) -> list[tuple[int, ...]]:
        batches: set[tuple[int, ...]] = {(message,) for message in messages}
        if self.world.batch == 2:
            batches |= {(a, b) for i, a in enumerate(messages) for j, b in enumerate(messages) if i != j}
        return sorted(batches)

    # Functions

    def _begin(self, function: str, argument: Any) -> Position:
        """The position at which a function starts; always the same object for the same argument."""
        if (function, argument) not in self._starts:
            run = getattr(self._functions, function)
            position = Position(function, argument, lambda tape: run(tape, argument))
            self._starts[function, argument] = self._positions[position.id] = position
        return self._starts[function, argument]

    def _processes(self, state: State) -> Iterator[tuple[Step, State]]:
        for process in dict.fromkeys(state.processes):
            position, orphan = self._positions[process[0]], process[1]
            rest = replace(state, processes=_without(state.processes, process))
            yield from self._advance(rest, position, orphan=orphan)
            if state.budget.overlaps and not orphan and position.function == "turn":
                less = replace(state.budget, overlaps=state.budget.overlaps - 1)
                alone = replace(rest, budget=less, processes=_with(rest.processes, (position.id, True)))
                yield Step("goes on, and the state machine calls again", position), self._again(alone, position)

    def _advance(
        self, state: State, start: Position, note: str = "", *, orphan: bool = False
    ) -> Iterator[tuple[Step, State]]:
        """Take a process to its next noticeable call, with the unnoticed calls before and after it."""
        position, noticed = start, False
        while position.call and not (noticed and not self._unnoticed(state, position)):
            noticed = noticed or not self._unnoticed(state, position)
            try:
                changed, behind = self._make(state, position)
            except Violation as e:
                e.step = Step(f"{note} and then {position.call.operation}", start, position)
                raise
            if changed is not state:
                yield from self._faults(state, changed, start, position, behind, note, orphan)
            state, position = changed, behind
        step = Step(note, start, position)
        if position.call:
            yield step, self._running(state, position, orphan)
            return
        try:
            yield step, self._ended(state, position, orphan)
        except Violation as e:
            e.step = step
            raise

    def _faults(
        self,
        state: State,
        changed: State,
        start: Position,
        position: Position,
        behind: Position,
        note: str,
        orphan: bool,
    ) -> Iterator[tuple[Step, State]]:
        budget = changed.budget
        if budget.crashes:
            less = replace(changed, budget=replace(budget, crashes=budget.crashes - 1))
            yield Step(f"{note} and it dies", start, behind), self._died(less, position, orphan)
        # The SDK gives a transaction a token, so a repeated one is carried out once.
        if budget.repeats and position.call and position.call.operation != "transact_write_items":
            twice, behind = self._make(changed, position)
            twice = replace(twice, budget=replace(budget, repeats=budget.repeats - 1))
            step = Step(f"{note} and the last call is made twice", start, behind)
            running = behind.call is not None
            yield step, (self._running if running else self._ended)(twice, behind, orphan)

    def _running(self, state: State, position: Position, orphan: bool) -> State:
        return replace(state, processes=_with(state.processes, (position.id, orphan)))

    def _died(self, state: State, position: Position, orphan: bool) -> State:
        """The state after a process died: its messages come again, or its call is retried."""
        if position.function == "submit":
            return replace(state, submit=_with(state.submit, self._message(position.argument[0], again=True)))
        if position.function == "collect":
            back = state.collect
            for body in position.argument:
                back = _with(back, self.messages.number(body))
            return replace(state, collect=back)
        return state if orphan else self._again(state, position)

    def _again(self, state: State, position: Position) -> State:
        """Let the state machine retry a call, if it is still in that state."""
        if position.function == "turn":
            drive = position.argument
            return self._at(state, drive, "turn", self._stage(state, drive).token)
        drive, token = position.argument
        stage = self._stage(state, drive)
        if token != _token(drive, stage) or stage.name != "waiting":
            return state
        return self._at(state, drive, "wait", stage.token + 1)

    def _ended(self, state: State, position: Position, orphan: bool) -> State:
        if isinstance(position.result, Exception):
            raise Violation(NO_FAILURE, repr(position.result))
        if position.function != "turn" or orphan:
            return state
        drive = position.argument
        if position.result.pending:
            return self._at(state, drive, "wait", self._stage(state, drive).token)
        self._promises.check_pass(state, drive)
        return self._at(state, drive, "passed", 0)

    def _unnoticed(self, state: State, position: Position) -> bool:
        """Whether no step of another process changes this call's answer, and this call changes none of theirs.

        Such a call is made at once: trying other steps before it would lead to the same states. Sending a message is
        one: it may arrive as late as if it had been sent later.
        """
        call = position.call
        assert call is not None
        number = self._call_number(position)
        if number not in self._scopes:
            self._scopes[number] = self._scope(call)
        scope = self._scopes[number]
        if scope == "shared" or scope == "own":
            return scope == "own"
        if scope == "clock":
            return not state.budget.delays
        if scope == "uploads":
            return not state.late
        if scope == "once":
            return item_name(call.parameters["Key"]) in self.items.values[state.items]
        raise AssertionError(scope)

    def _scope(self, call: Call) -> str:
        """Say which other processes may touch the object of a call.

        `own`: none; `shared`: any. The rest count as shared in some states: `clock` while deadlines may still pass,
        `uploads` while a late frame is still to come, `once` until the item is written.
        """
        if call.service in ("sqs", "sagemaker", "sns") or call.operation == "start_execution":
            return "own"
        if call.service == "clock":
            return "clock"
        if call.service == "s3":
            if call.parameters["Bucket"] == INGEST:
                return "uploads"
            # Only reconcile passes of one run use keys under labels/, and they come one after the other.
            where = call.parameters.get("Key") or call.parameters["Prefix"]
            return "own" if where.startswith("labels/") and not self.world.budget.overlaps else "shared"
        if call.operation == "get_item" and call.parameters["Key"]["pk"]["S"].startswith("drive#"):
            # The record of a run and the mark of its listing never change once they are written.
            return "once"
        if call.operation == "put_item" and call.parameters["Item"]["pk"]["S"] in ("closed", "late"):
            # Only sweeps read these, and there are none here.
            return "own"
        if call.operation == "query":
            if call.parameters["ExpressionAttributeValues"].get(":prefix") == {"S": "run#"}:
                # Only reconcile passes read it, and there is one run.
                return "own"
            return "shared" if _partition(call) in self._written else "own"
        return "shared"

    # Calls

    def _make(self, state: State, position: Position) -> tuple[State, Position]:
        """Make the process's next call: the state and the position after it."""
        call = position.call
        assert call is not None
        if call.service == "dynamodb":
            items, answer, number = self._effect(self._table, self.items, state.items, position)
            if items != state.items:
                state = replace(state, items=items)
                self._promises.check_failed(state)
        elif call.service == "s3":
            objects, answer, number = self._effect(self._buckets, self.objects, state.objects, position)
            if objects != state.objects:
                state = replace(state, objects=objects)
        else:
            state, answer = getattr(self, f"_{call.service}")(state, call)
            number = self._answer_number(answer)
        return state, self._past_nothing(position.after(answer, number))

    def _past_nothing(self, position: Position) -> Position:
        """The position after all queries of partitions to which nothing is ever written."""
        if position.beyond is None:
            beyond = position
            while beyond.call and beyond.call.operation == "query" and _partition(beyond.call) not in self._written:
                beyond = beyond.after({"Items": []}, NOTHING)
            self._positions[beyond.id] = position.beyond = beyond
        return position.beyond

    def _effect(self, service: Any, values: Interned, number: int, position: Position) -> tuple[int, Any, int]:
        call = position.call
        assert call is not None
        key = (number, values is self.items, self._call_number(position))
        if key not in self._effects:
            before = after = values.values[number]
            try:
                after, answer = getattr(service, call.operation)(before, call.parameters)
            except ClientError as e:
                answer = e
            if service is self._table:
                places = {name.split("\0")[0] for name in after.keys() ^ before.keys()}
                assert places <= self._written, places
            self._effects[key] = (values.number(after), answer, self._answer_number(answer))
        return self._effects[key]

    def _call_number(self, position: Position) -> int:
        if position.call_number is None:
            position.call_number = self._calls.number(position.call)
        return position.call_number

    def _answer_number(self, answer: Any) -> int:
        name = {"error": answer.response} if isinstance(answer, ClientError) else {"answer": answer}
        return self._answers.number(answer, name)

    def _clock(self, state: State, call: Call) -> tuple[State, Any]:
        return state, NOW + state.clock * LONG

    def _sns(self, state: State, call: Call) -> tuple[State, Any]:
        return state, {}

    def _sqs(self, state: State, call: Call) -> tuple[State, Any]:
        submit = state.submit
        for entry in call.parameters["Entries"]:
            submit = _with(submit, self._message(entry["MessageBody"]))
        return replace(state, submit=submit), {}

    def _sagemaker(self, state: State, call: Call) -> tuple[State, Any]:
        asked = call.parameters
        name = f"{asked['S3OutputPathExtension']}/{asked['Filename']}"
        elsewhere = state.elsewhere
        if not self.world.honours_names:
            # Each request gets a name of its own, also when its id is not new.
            number = self.requests.number(asked["InferenceId"])
            name = f"{asked['InferenceId']}-{elsewhere.count(number)}.out"
            elsewhere = _with(elsewhere, number)
        request = Invocation(
            endpoint=asked["EndpointName"],
            input_location=asked["InputLocation"],
            inference_id=asked["InferenceId"],
            output_extension=asked["S3OutputPathExtension"],
            filename=asked["Filename"],
            content_type=asked["ContentType"],
            accept=asked["Accept"],
            ttl=asked["RequestTTLSeconds"],
            timeout=asked["InvocationTimeoutSeconds"],
            output_location=f"s3://{LABELS}/inference/{name}",
        )
        taken = _with(state.asked, self.requests.number(request))
        return replace(state, asked=taken, elsewhere=elsewhere), {"OutputLocation": request.output_location}

    def _stepfunctions(self, state: State, call: Call) -> tuple[State, Any]:
        if call.operation == "start_execution":
            return self._start_execution(state, call)
        for drive in self.drives:
            stage = self._stage(state, drive)
            if stage.name == "waiting" and call.parameters["taskToken"] == _token(drive, stage):
                self._promises.check_wake(state, drive)
                return self._at(state, drive, "turn", stage.token + 1), {}
        return state, refused("SendTaskSuccess", "TaskTimedOut")

    def _start_execution(self, state: State, call: Call) -> tuple[State, Any]:
        (drive,) = (d for d in self.drives if call.parameters["name"].startswith(d))
        if call.parameters["name"] != execution_name(drive, RUN):
            raise Violation(ONE_EXECUTION, call.parameters["name"])
        if self._stage(state, drive).name != "none":
            return state, refused("StartExecution", "ExecutionAlreadyExists")
        return self._at(state, drive, "turn", 0), {}

    # Endpoint

    def _endpoint(self, state: State) -> Iterator[tuple[Step, State]]:
        budget = state.budget
        for number in sorted(set(state.asked)):
            request = self.requests.values[number]
            rest = replace(state, asked=_without(state.asked, number))
            objects = {**self.objects.values[state.objects], f"{LABELS}/{request.output_key}": b"{}"}
            answered = replace(rest, objects=self._objects(objects))
            yield Step(f"the endpoint answers {_place(request)}"), self._notify(answered, success(request))
            if budget.failures:
                failed = replace(
                    rest,
                    budget=replace(budget, failures=budget.failures - 1),
                    failed=tuple(sorted({*rest.failed, request.inference_id})),
                )
                yield Step(f"the endpoint fails {_place(request)}"), self._notify(failed, failure(request))
            if budget.expiries:
                expired = replace(rest, budget=replace(budget, expiries=budget.expiries - 1))
                body = failure(request, status="Expired")
                yield Step(f"the endpoint lets {_place(request)} expire"), self._notify(expired, body)
            if budget.losses:
                less = replace(budget, losses=budget.losses - 1)
                yield Step(f"the endpoint forgets {_place(request)}"), replace(rest, budget=less)

    def _notify(self, state: State, body: str) -> State:
        return replace(state, collect=_with(state.collect, self.messages.number(body)))

    # State machine

    def _stage(self, state: State, drive: str) -> Stage:
        return state.stages[self.drives.index(drive)]

    def _at(self, state: State, drive: str, name: str, token: int) -> State:
        at = self.drives.index(drive)
        return replace(state, stages=(*state.stages[:at], Stage(name, token), *state.stages[at + 1 :]))

    def _machine(self, state: State) -> Iterator[tuple[Step, State]]:
        for drive, stage in zip(self.drives, state.stages, strict=True):
            begin = self._begin("wait", (drive, _token(drive, stage)))
            if stage.name == "turn":
                called = self._at(state, drive, "turning", stage.token)
                yield from self._advance(called, self._begin("turn", drive))
            elif stage.name == "wait":
                yield from self._advance(self._at(state, drive, "waiting", stage.token), begin)
            if not state.budget.timeouts:
                continue
            less = replace(state, budget=replace(state.budget, timeouts=state.budget.timeouts - 1))
            waits = any(self._positions[number].argument == begin.argument for number, _ in state.processes)
            if stage.name == "waiting" and (self.world.slow_waits or not waits):
                yield Step(f"the wait of {drive} times out"), self.time_out(less, drive)
            elif stage.name == "wait" and self.world.slow_waits:
                slow = self._running(less, begin, orphan=False)
                yield Step("is called, and the wait times out", begin), self.time_out(slow, drive)

    def time_out(self, state: State, drive: str) -> State:
        return self._at(state, drive, "turn", self._stage(state, drive).token + 1)


def _token(drive: str, stage: Stage) -> str:
    return f"{drive}, wait {stage.token:04d}"


def _partition(query: Call) -> str:
    return str(query.parameters["ExpressionAttributeValues"][":pk"]["S"])


def _place(request: Invocation) -> str:
    return f"{request.output_extension}/{request.filename}"


def _with(bag: tuple[Any, ...], one: Any) -> tuple[Any, ...]:
    return tuple(sorted((*bag, one)))


def _without(bag: tuple[Any, ...], one: Any) -> tuple[Any, ...]:
    at = bag.index(one)
    return bag[:at] + bag[at + 1 :]
