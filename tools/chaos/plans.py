"""Plans of faults: named ones, each fault alone, and random ones, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from local import Fault
from tools.chaos.stage import VISIBILITY_SECONDS

# Logical names of the functions, and session names of the state machine and of the SageMaker stand-in.
QUEUE_FUNCTIONS = ("SubmitFunction", "CollectFunction")
STATE_FUNCTIONS = (
    *("ReconcileFunction", "PlanFunction", "LabelFunction", "AssembleFunction", "PublishFunction"),
    *("VerifyFunction", "LinkFunction"),
)
# The last two are not drawn for these faults, so that the plans of older seeds stay the same.
_DRAWN_FUNCTIONS = STATE_FUNCTIONS[:-2]
EXTRACT = "ExtractFunction"
MACHINE, SAGEMAKER = "states", "SageMaker"
OUTLIVES_VISIBILITY = VISIBILITY_SECONDS + 2.0
CAMERAS = ("front", "rear")
# The time of the first frame, in nanoseconds.
_FIRST = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class WorldEvent:
    """An event at the endpoint, the model, the queues or the runs, `at` seconds after the first upload.

    kind: endpoint-away (deleted, and created again after `seconds`), endpoint-update, moods (of the model, with their
    shares, for `seconds`), strangers (malformed and foreign messages), runs-stopped and extractions-stopped (by an
    operator), operator (who stops runs half way and goes on with each of `acts`, see operators.py).
    """

    kind: str
    at: float = 0.0
    seconds: float = 0.0
    moods: tuple[tuple[str, float], ...] = ()
    acts: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = ",".join([*(f"{name} {share:g}" for name, share in self.moods), *self.acts])
        return " ".join(part for part in ("world", self.kind, what) if part)


SLOW_MODEL = WorldEvent("moods", 0, 5, (("slow", 1.0),))
"""Makes a run wait for answers."""


@dataclass(frozen=True)
class LogsPlan:
    """The upload of a drive's logs. document: when recording.json comes, early, late or never.

    overwritten: how often other bytes replace the first log while it is extracted, `pause` seconds after its record;
    the second time they are the first ones again. It goes with a late document, which closes the drive.
    """

    document: str = "early"
    overwritten: int = 0
    pause: float = 0.0


@dataclass(frozen=True)
class DrivePlan:
    """The upload of one drive. `frames`: (name, kind of frame, see fleet.py); `late`: put after drive.json.

    closing: once, twice, first (before the frames), refused (a bad drive.json before the good one), changed (another
    one afterwards), never (the sweep has to close it). pause: seconds between frames. models: how many models the
    drive.json names; the second one gets no frame before the drive is closed. audits: whether the policy is `doubtful`.
    vigilance: whether reviewers see seeded errors. tracks: whether they verify tracks, in strips.
    logs: those of a drive of logs (see log_fleet.py); besides, only `models` counts.
    """

    frames: tuple[tuple[str, str], ...]
    late: tuple[tuple[str, str], ...] = ()
    closing: str = "once"
    pause: float = 0.0
    models: int = 1
    audits: bool = False
    vigilance: bool = False
    tracks: bool = False
    logs: LogsPlan | None = None

    def __str__(self) -> str:
        if logs := self.logs:
            return f"drive of logs, recording.json {logs.document}, overwritten {logs.overwritten} times"
        task = ", tracks" if self.tracks else ""
        return f"drive of {len(self.frames)}+{len(self.late)} frames, {self.models} models, closed {self.closing}{task}"


@dataclass(frozen=True)
class Plan:
    """A plan of faults: they strike for `seconds` from the first upload on. Then they stop, and every drive must end.

    must_strike: the plan fails if none of its faults struck, since it would prove nothing; without faults and events,
    if no log was replaced during its extraction. all_must_strike: if one of its faults and events is missing.
    """

    name: str
    seed: int
    drives: tuple[DrivePlan, ...]
    faults: tuple[Fault, ...] = ()
    events: tuple[WorldEvent, ...] = field(default=())
    seconds: float = 4.0
    must_strike: bool = False
    all_must_strike: bool = False

    @property
    def has_operator(self) -> bool:
        """Whether an operator intervenes while reviewers work."""
        return any(event.acts for event in self.events)

    def lines(self) -> list[str]:
        """The plan as lines of text."""
        faults = [f"{f}, p={f.probability:g}, at most {f.times}, after {f.skip}, {f.seconds:g} s" for f in self.faults]
        events = [f"{e} at {e.at:g} s for {e.seconds:g} s" for e in self.events]
        return [
            f"plan {self.name}, seed {self.seed}: faults for {self.seconds:g} s",
            *map(str, self.drives),
            *faults,
            *events,
        ]


def call(service: str, operation: str, code: str, target: str = "", kind: str = "error", **more: Any) -> Fault:
    return Fault("call", kind, target, service, operation, code, **more)


def invocation(kind: str, target: str, **more: Any) -> Fault:
    return Fault("invocation", kind, target, **more)


def named_plans() -> list[Plan]:
    """All plans with one fault alone, each on a drive with frames of several kinds."""
    plans: list[Plan] = []

    def plan(
        name: str,
        *what: Fault | WorldEvent,
        seconds: float = 4.0,
        drives: int = 1,
        every: bool = False,
        logs: Sequence[LogsPlan] = (),
        **drive: Any,
    ) -> None:
        seed = len(plans)
        draw = random.Random(seed)
        faults = tuple(thing for thing in what if isinstance(thing, Fault))
        events = tuple(thing for thing in what if isinstance(thing, WorldEvent))
        uploads = (*(drive_plan(draw, **drive) for _ in range(drives)), *map(_drive_of_logs, logs))
        strikes = bool(what) or any(one.overwritten for one in logs)
        plans.append(Plan(name, seed, uploads, faults, events, seconds, must_strike=strikes, all_must_strike=every))

    plan("no fault", drives=2, vigilance=True)
    plan("two models", drives=2, models=2, unreadable=True)
    plan("two models, one's endpoint away", WorldEvent("endpoint-away", 0.5, 3), models=2)
    plan("two models, killed at UpdateItem", *_kills("UpdateItem"), SLOW_MODEL, models=2)
    for target, what in (("SubmitQueue", "S3 events"), ("CollectQueue", "notifications")):
        plan(f"{what} dropped", Fault("delivery", "drop", target, probability=0.5, times=8))
        plan(f"{what} doubled", Fault("delivery", "double", target, times=30))
        plan(f"{what} delayed", Fault("delivery", "delay", target, probability=0.5, times=10, seconds=3))
        plan(f"{what} reordered", Fault("delivery", "reorder", target, times=30, seconds=0.7))
    plan("drive.json's event dropped", Fault("delivery", "drop", "drive.json"), seconds=1)
    plan("malformed and foreign messages", WorldEvent("strangers"), WorldEvent("strangers", 1.5))
    for function in QUEUE_FUNCTIONS:
        plan(f"{function} killed before", invocation("kill-before", function, times=2))
        plan(f"{function} killed after", invocation("kill-after", function, times=2))
        slow = invocation("slow", function, times=2, seconds=OUTLIVES_VISIBILITY)
        plan(f"{function} outlives visibility", slow, seconds=3)
    for kind in ("kill-before", "kill-after"):
        plan(f"functions of all tasks {kind}", *(invocation(kind, function) for function in STATE_FUNCTIONS))
    for operation in ("PutItem", "InvokeEndpointAsync", "UpdateItem"):
        plan(f"killed at {operation}", *_kills(operation))
    plan("killed at DeleteItem", *_kills("DeleteItem"), *_kills("BatchWriteItem"))
    plan("killed at StartExecution", *_kills("StartExecution"))
    for operation in ("SendTaskSuccess", "SendMessageBatch", "TransactWriteItems"):
        plan(f"killed at {operation}", *_kills(operation), SLOW_MODEL, unreadable=True)
    plan(
        "killed at PutObject",
        *(f for function in STATE_FUNCTIONS for f in _kills("PutObject", function)),
        vigilance=True,
    )
    throttled = "ProvisionedThroughputExceededException"
    lost: dict[str, Any] = {"kind": "lost", "probability": 0.3, "times": 15}
    plan("DynamoDB throttles", call("dynamodb", "", throttled, "Function", probability=0.3, times=25))
    plan("DynamoDB answers lost", call("dynamodb", "", "InternalServerError", "Function", **lost))
    conflict = call("dynamodb", "TransactWriteItems", "TransactionCanceledException", times=3)
    plan("DynamoDB transactions conflict", conflict, unreadable=True, seconds=3)
    plan("S3 SlowDown", call("s3", "", "SlowDown", "Function", probability=0.3, times=25))
    plan("S3 SlowDown for the state machine", call("s3", "", "SlowDown", MACHINE, times=2))
    plan("S3 SlowDown for SageMaker", call("s3", "", "SlowDown", SAGEMAKER, probability=0.5, times=12))
    plan("S3 answers lost", call("s3", "", "InternalError", "Function", **lost))
    plan("SQS fails", call("sqs", "", "InternalFailure", probability=0.7, times=10), SLOW_MODEL, unreadable=True)
    plan("SNS fails", call("sns", "", "InternalError", probability=0.6, times=12))
    plan(
        "StartExecution's answer lost", call("stepfunctions", "StartExecution", "InternalFailure", kind="lost", times=3)
    )
    plan("StartExecution throttled", call("stepfunctions", "StartExecution", "ThrottlingException", times=4))
    plan("woken too late", call("stepfunctions", "SendTaskSuccess", "TaskTimedOut", times=5), SLOW_MODEL)
    plan("wakes fail", call("stepfunctions", "SendTaskSuccess", "InternalFailure", times=8), SLOW_MODEL)
    for code in ("ThrottlingException", "ServiceUnavailable", "InternalFailure", "ValidationError"):
        plan(f"endpoint answers {code}", call("sagemaker-runtime", "", code, probability=0.6, times=20), seconds=2)
    plan("endpoint's answers lost", call("sagemaker-runtime", "", "InternalFailure", **lost))
    plan("endpoint deleted half way", WorldEvent("endpoint-away", 0.3, 3), pause=0.1)
    plan("endpoint missing at first", WorldEvent("endpoint-away", -1, 3))
    plan("runs stopped by an operator", SLOW_MODEL, WorldEvent("runs-stopped", 1.5))
    plan("endpoint updating", WorldEvent("endpoint-update", 0.2), pause=0.1)
    moods = {"error": 0.6, "hang": 0.2, "garbage": 0.4, "truncated": 0.4, "broken": 0.4, "exit": 0.2}
    for mood, share in moods.items():
        plan(f"container: {mood}", WorldEvent("moods", 0, 2, ((mood, share),)), pause=0.02)
    plan(
        "Lambda fails under every task",
        call("lambda", "Invoke", "ServiceException", MACHINE, probability=0.5, times=10),
    )
    plan("a task's retries exhausted", invocation("kill-before", "PlanFunction", times=6), seconds=8)
    plan("a shard's retries exhausted", invocation("kill-before", "LabelFunction", times=12))
    for kind in ("failed", "stopped", "unlabelled"):
        plan(f"labelling job {kind}", Fault("job", kind), vigilance=kind == "unlabelled")
    create = call("sagemaker", "CreateLabelingJob", "InternalFailure", MACHINE, "lost")
    plan("labelling job's name in use", create)
    throttles = call("sagemaker", "CreateLabelingJob", "ThrottlingException", MACHINE, times=2)
    plan("CreateLabelingJob throttled", throttles)
    fails = call("sagemaker", "DescribeLabelingJob", "InternalFailure", MACHINE, times=2)
    plan("DescribeLabelingJob fails", fails)
    for closing in ("twice", "first", "refused", "changed", "never"):
        plan(f"drive closed {closing}", closing=closing, seconds=1)

    def reviewed(name: str, kind: str, *what: Fault | WorldEvent, jobs: int = 1, **drive: Any) -> None:
        # The first job of a run has several frames.
        plan(
            name,
            Fault("job", kind, "-000-", times=jobs, seconds=2),
            *what,
            seconds=8.0,
            every=True,
            # A second round takes some seconds, so only some plans have one.
            **{"vigilance": len(plans) % 4 == 0 and not drive.get("tracks")} | drive,
        )

    kills = (
        *_kills("PutObject", "VerifyFunction"),
        Fault("call", "kill-after", "VerifyFunction", operation="PutObject", skip=3),
    )
    for act, acted in (("redrive", "redriven"), ("relabel", "relabelled")):
        for kind in ("half-answered", "late-manifest", "no-manifest"):
            tracks = act == "relabel" or kind == "late-manifest"
            reviewed(f"{kind}, stopped and {acted}", kind, operator(act), tracks=tracks)
        reviewed(
            f"{acted} half way, verify killed at PutObject",
            "half-answered",
            *kills,
            operator(act),
            small=act == "redrive",
            tracks=act == "relabel",
        )
    reviewed("half-failed and redriven", "half-failed")
    again = Fault("job", "half-failed", "again")
    reviewed("half-failed in the second round", "unlabelled", again, tracks=True, vigilance=True)
    reviewed("half-failed and relabelled", "half-failed", operator("relabel"))
    reviewed("relabelled twice", "half-answered", operator("relabel", "relabel"), jobs=2, small=True)
    reviewed("relabelled twice at once", "half-answered", operator("relabel", "relabel at once"), drives=2, jobs=2)
    reviewed("redriven, then relabelled", "half-answered", operator("redrive", "relabel"), jobs=2)
    reviewed("relabelled half way, with audits", "half-answered", operator("relabel"), audits=True)
    relabels = WorldEvent("operator", 1.5, acts=("relabel at once",))
    plan("relabelled while models answer", SLOW_MODEL, relabels, every=True)

    def extracted(name: str, *what: Fault | WorldEvent, every: bool = False, drives: int = 0, **logs: Any) -> None:
        document = ("early", "late")[len(plans) % 2]
        plan(name, *what, seconds=6.0, every=every, drives=drives, logs=[LogsPlan(**{"document": document, **logs})])

    def killed(often: Mapping[str, Any], *operations: str) -> list[Fault]:
        kinds = ("kill-before", "kill-after")
        return [Fault("call", kind, EXTRACT, operation=name, **often) for name in operations for kind in kinds]

    ends = [invocation(kind, EXTRACT, times=3, skip=1) for kind in ("kill-before", "kill-after")]
    extracted("extract killed at its invocations", *ends)
    often = {"probability": 0.15, "times": 6}
    extracted("extract killed at its calls", *killed(often, "PutObject", "GetObject", ""), drives=1)
    twice = call("lambda", "Invoke", "ServiceException", MACHINE, "lost", probability=0.5, times=8)
    slow = call("s3", "", "SlowDown", EXTRACT, probability=0.1, times=10)
    extracted(
        "slices doubled, S3 SlowDown and answers lost", twice, slow, call("s3", "", "InternalError", EXTRACT, **lost)
    )
    moved = (
        *(Fault("delivery", kind, "/logs/", seconds=3) for kind in ("drop", "delay", "double")),
        Fault("delivery", "reorder", "/logs/", times=10, seconds=0.7),
    )
    plan("events of logs dropped, delayed, doubled", *moved, drives=0, logs=[LogsPlan("late"), LogsPlan("early")])
    extracted("extractions stopped and redriven", WorldEvent("extractions-stopped"), every=True)
    extracted("a slice's retries exhausted", invocation("kill-before", EXTRACT, times=12, skip=1))
    plan("logs overwritten", drives=0, logs=[LogsPlan("late", times, pause) for times in (1, 2) for pause in (0, 0.7)])
    plan("logs without a document", drives=1, logs=[LogsPlan("never")])
    reviewed(
        "relabelled half way, with audits of strips", "half-answered", operator("relabel"), audits=True, tracks=True
    )
    return plans


def operator(*acts: str) -> WorldEvent:
    return WorldEvent("operator", acts=acts)


def _kills(operation: str, function: str = "Function") -> tuple[Fault, Fault]:
    before = Fault("call", "kill-before", function, operation=operation)
    return before, Fault("call", "kill-after", function, operation=operation, skip=1)


def random_plan(seed: int) -> Plan:
    """The plan of a seed: several drives, faults and events at once."""
    draw = random.Random(seed)
    # Not drawn, so that the plans of the other seeds stay the same.
    tracks = seed % 4 == 1
    drives = tuple(
        drive_plan(
            draw,
            closing=draw.choices(("once", "twice", "first", "refused", "changed", "never"), (8, 1, 1, 1, 1, 1))[0],
            pause=draw.choice((0, 0.02, 0.1)),
            unreadable=draw.random() < 0.4,
            models=2 if seed % 3 == 0 else 1,
            vigilance=seed % 3 == 1,
            tracks=tracks,
        )
        for _ in range(draw.choices((1, 2, 3), (5, 3, 2))[0])
    )
    faults = tuple(draw.choice(_FAULTS)(draw) for _ in range(draw.randint(1, 5)))
    events = tuple(_event(draw) for _ in range(draw.choices((0, 1, 2), (5, 4, 1))[0]))
    plan = Plan(f"random {seed}", seed, drives, faults, events, round(draw.uniform(2, 6), 1))
    plan = _with_reviewers(plan, random.Random(f"reviewers of {seed}"))
    return _with_logs(plan, random.Random(f"logs of {seed}")) if seed % 4 == 2 else plan


def _with_logs(plan: Plan, draw: random.Random) -> Plan:
    """Add a drive of logs, and faults of its extraction; drawn apart, as `_with_reviewers` does."""
    document = draw.choice(("early", "late", "never"))
    overwritten = draw.choice((0, 0, 1, 2)) if document == "late" else 0
    logs = LogsPlan(document, overwritten, round(draw.uniform(0, 1), 1))
    faults: list[Fault] = []
    for _ in range(draw.randint(1, 3)):
        more: dict[str, Any] = {"probability": round(draw.uniform(0.1, 0.6), 2), "times": draw.randint(1, 10)}
        kill, operation = draw.choice(("kill-before", "kill-after")), draw.choice(("PutObject", "GetObject", ""))
        faults.append(
            draw.choice(
                (
                    invocation(draw.choice((kill, "slow")), EXTRACT, **more),
                    Fault("call", kill, EXTRACT, operation=operation, **more),
                    call("s3", "", "SlowDown", EXTRACT, draw.choice(("error", "lost")), **more),
                    Fault("delivery", draw.choice(("drop", "double", "delay", "reorder")), "/logs/", **more),
                )
            )
        )
    events = [WorldEvent("extractions-stopped", round(draw.uniform(0, 3), 1))] if draw.random() < 0.3 else []
    return replace(
        plan,
        drives=(*plan.drives, _drive_of_logs(logs)),
        faults=(*plan.faults, *faults),
        events=(*plan.events, *events),
    )


def _with_reviewers(plan: Plan, draw: random.Random) -> Plan:
    """Add reviewers who stop half way, and an operator, to half of the plans.

    They are drawn apart, so that the rest of an older seed's plan stays the same.
    """
    if draw.random() < 0.5 or any(drive.closing == "never" for drive in plan.drives):
        return plan
    kind = draw.choice(("half-failed", "half-answered", "late-manifest", "no-manifest"))
    faults = [Fault("job", kind, times=draw.randint(1, 3), seconds=draw.choice((0.5, 2, 8)))]
    if draw.random() < 0.5:
        call, skip = draw.choice(("PutObject", "GetObject", "")), draw.randint(0, 6)
        kind = draw.choice(("kill-before", "kill-after"))
        faults.append(Fault("call", kind, "VerifyFunction", operation=call, times=draw.randint(1, 2), skip=skip))
    acts = draw.choices(("redrive", "relabel", "relabel at once"), (3, 3, 1), k=draw.randint(1, 2))
    return replace(plan, faults=(*plan.faults, *faults), events=(*plan.events, operator(*acts)))


def _drive_of_logs(logs: LogsPlan) -> DrivePlan:
    return DrivePlan((), logs=logs)


def drive_plan(
    draw: random.Random,
    *,
    closing: str = "once",
    pause: float = 0.0,
    unreadable: bool = False,
    models: int = 1,
    small: bool = False,
    audits: bool = False,
    vigilance: bool = False,
    tracks: bool = False,
) -> DrivePlan:
    """A drive of 5 to 21 frames, some of them bad. unreadable: also with frames on which the model fails.

    small: with at most one full shard, so that it has one job. tracks: with 8 good frames or more of each camera, whose
    boxes are linked: jobs have two strips then, one of them long enough for a seed.
    """
    # Without a document, nothing asks for tracks.
    tracks = tracks and closing != "never"
    good = 4 if small else draw.randint(4, 14)
    kinds = ["good"] * (max(16, good) if tracks else good)
    kinds += draw.sample(
        ["empty", "garbage", "unknown-camera", "second-object", "svg", "overwritten"], draw.randint(1, 3)
    )
    kinds += ["model-error", "model-error", "unreadable", "cut-off"] if unreadable else []
    draw.shuffle(kinds)
    drawn = [draw.choice(CAMERAS) for _ in kinds]
    frames = tuple(
        # With tracks, each of the two cameras has 10 frames a second.
        (f"{CAMERAS[i % 2]}/{_FIRST + i * 50_000_000}" if tracks else f"{camera}/{_FIRST + i * 100}", kind)
        for i, (camera, kind) in enumerate(zip(drawn, kinds, strict=True))
    )
    late = tuple((f"front/{1_800_000_000_000_000_000 + i}", "good") for i in range(draw.choice((0, 0, 1, 2))))
    return DrivePlan(frames, () if small else late, closing, pause, models, audits, vigilance, tracks)


def _event(draw: random.Random) -> WorldEvent:
    kind = draw.choice(("endpoint-away", "endpoint-update", "moods", "moods", "strangers", "runs-stopped"))
    moods = (
        draw.sample(("slow", "error", "garbage", "truncated", "broken", "hang", "exit"), 2) if kind == "moods" else []
    )
    shares = tuple((mood, round(draw.uniform(0.05, 0.15 if mood in ("hang", "exit") else 0.4), 2)) for mood in moods)
    return WorldEvent(kind, round(draw.uniform(0, 2), 1), round(draw.uniform(1, 4), 1), shares)


def _delivery(draw: random.Random) -> Fault:
    return Fault(
        "delivery",
        draw.choice(("drop", "double", "delay", "reorder")),
        draw.choice(("Submit", "Collect", "")),
        probability=round(draw.uniform(0.1, 0.9), 2),
        times=draw.randint(1, 15),
        seconds=round(draw.uniform(0.2, 4), 1),
    )


def _error(draw: random.Random) -> Fault:
    service, operations, codes = draw.choice(_CALLS)
    return Fault(
        "call",
        draw.choice(("error", "error", "lost")),
        draw.choice(("Function", "Function", "", MACHINE, SAGEMAKER, *QUEUE_FUNCTIONS, *_DRAWN_FUNCTIONS)),
        service,
        draw.choice(operations),
        draw.choice(codes),
        probability=round(draw.uniform(0.1, 0.8), 2),
        times=draw.randint(1, 12),
        skip=draw.randint(0, 6),
    )


def _kill_at_call(draw: random.Random) -> Fault:
    return Fault(
        "call",
        draw.choice(("kill-before", "kill-after")),
        draw.choice((*QUEUE_FUNCTIONS, *_DRAWN_FUNCTIONS)),
        probability=round(draw.uniform(0.05, 0.5), 2),
        times=draw.randint(1, 4),
        skip=draw.randint(0, 12),
    )


def _invocation(draw: random.Random) -> Fault:
    kind = draw.choice(("kill-before", "kill-after", "slow"))
    target = draw.choice((*QUEUE_FUNCTIONS, *QUEUE_FUNCTIONS, *_DRAWN_FUNCTIONS))
    return Fault(
        "invocation",
        kind,
        target,
        probability=round(draw.uniform(0.2, 1), 2),
        times=draw.randint(1, 2 if kind == "slow" else 4),
        skip=draw.randint(0, 3),
        seconds=OUTLIVES_VISIBILITY if target in QUEUE_FUNCTIONS else 1.0,
    )


def _job(draw: random.Random) -> Fault:
    return Fault("job", draw.choice(("failed", "stopped", "unlabelled")), times=draw.randint(1, 2))


_CALLS: Sequence[tuple[str, Sequence[str], Sequence[str]]] = (
    (
        "dynamodb",
        ("", "PutItem", "UpdateItem", "BatchWriteItem", "DeleteItem", "Query", "GetItem"),
        ("ProvisionedThroughputExceededException", "ThrottlingException", "InternalServerError"),
    ),
    ("dynamodb", ("TransactWriteItems",), ("TransactionCanceledException",)),
    ("s3", ("", "GetObject", "PutObject", "HeadObject", "ListObjectsV2"), ("SlowDown", "InternalError")),
    ("sqs", ("", "SendMessageBatch", "ChangeMessageVisibility"), ("InternalFailure", "ServiceUnavailable")),
    ("sns", ("Publish",), ("InternalError", "Throttled")),
    ("stepfunctions", ("", "StartExecution", "SendTaskSuccess"), ("ThrottlingException", "InternalFailure")),
    ("sagemaker-runtime", ("",), ("ThrottlingException", "ServiceUnavailable", "InternalFailure", "ValidationError")),
    ("sagemaker", ("CreateLabelingJob", "DescribeLabelingJob"), ("ThrottlingException", "InternalFailure")),
    ("lambda", ("Invoke",), ("ServiceException", "TooManyRequestsException")),
    ("events", ("PutEvents",), ("InternalException",)),
)
_FAULTS: Sequence[Callable[[random.Random], Fault]] = (
    *(
        _delivery,
        _delivery,
        _delivery,
        _error,
        _error,
        _error,
        _kill_at_call,
        _kill_at_call,
        _invocation,
        _invocation,
        _job,
    ),
)
