"""Records old runs: drives them through the functions and keeps what happens, one journal for each.

python -m tests.contract.old_run.record

Runs that were recorded stay as they are: they stand for executions that are under way. Record them anew only where it
is meant that a run under way no longer ends, and copy statemachine/label_drive.asl.yaml here with them.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from autolabel.contracts.verification import VerifyUncertain
from autolabel.triage.audits import evidence_key
from tests.contract.account import FRAME
from tests.contract.old_run.walk import (
    CONNECTION,
    FOLDER,
    STUBBORN,
    Ended,
    Entry,
    Execution,
    Json,
    Stage,
    World,
    compact,
    difference,
    encode,
    iso,
    stage,
    write_journal,
)
from tests.contract.template import INGEST, LABELS
from tests.fakes.answers import answer
from tests.fakes.evidence import evidence_of
from tests.fakes.pipeline import verified

# What happens around a run. It yields the state in which the run waits for what comes next.
Story = Callable[["Recording"], Iterator[str]]
CAR, PERSON = (0.25, 0.25, 0.5, 0.75), (0.7, 0.2, 0.75, 0.5)
NAMES = ("person", "bicycle", "car")
DRIVE = f"s3://{INGEST}/drives/drive-7"
DOCUMENT = f"{DRIVE}/drive.json"


class Recording(World):
    """A world in which a story is told, on a stage; `entries` is the journal of it."""

    def __init__(self, stack: Stage, story: Story) -> None:
        super().__init__()
        self.stage = stack
        self.entries: list[Entry] = []
        self.invocations: list[Json] = []
        self.jobs: dict[str, str] = {}
        self._held = stack.read()
        self._story = story(self)
        self._awaited = next(self._story, "")

    def happen(self, asked: Entry) -> Json:
        entry = {"at": self.now, **asked}
        if "function" in asked:
            entry |= self.stage.perform(asked["function"], self.messages(asked), self.now)
            entry.pop("said", None)
        elif "service" in asked:
            entry |= ground_truth(self, asked["asked"])
            if "error" in entry:
                # That a job is there already says nothing of what was asked for.
                del entry["asked"]
        before, self._held = self._held, self.stage.read()
        if changes := difference(before, self._held):
            entry["changes"] = changes
        self.entries.append(entry)
        self.now += 10
        self.note(entry)
        self.invocations += [e["InvokeEndpointAsync"] for e in entry.get("effects", []) if "InvokeEndpointAsync" in e]
        if "error" in entry:
            raise Ended(entry["error"])
        return entry.get("answer")

    def others(self, state: str) -> None:
        assert state == self._awaited, f"the story goes on in {self._awaited}, and the run waits in {state}"
        self._awaited = next(self._story, "")

    def lines(self, uri: str) -> list[Json]:
        return [json.loads(line) for line in self.stage.account.labels.lines(uri.removeprefix(f"s3://{LABELS}/"))]

    def put(self, what: str, **things: Any) -> None:
        self.stage.write(things)
        self.happen({"happens": what})

    def upload(self, *frames: tuple[str, int], body: bytes = FRAME) -> None:
        self.put("frames are uploaded", **{frame(*one): encode("", body) for one in frames})

    def document(self, document: Json) -> None:
        self.put("the document is uploaded", **{DOCUMENT: {"json": document}})

    def take(self, function: str, *messages: Json) -> None:
        self.happen({"function": function, "asked": {"messages": list(messages)}})

    def deliver(self) -> None:
        """The queue's messages come to submit."""
        for some in tens(self.queue):
            self.happen({"function": "submit", "queue": len(some)})

    def squash(self, what: str) -> None:
        """Keep what happened so far as one thing that did."""
        self.entries = [{"at": 0, "happens": what, "changes": self._held}]

    def invocation(self, model: str, camera: str, number: int) -> Json:
        """The latest of a frame."""
        return [
            one
            for one in self.invocations
            if (one["EndpointName"], one["InputLocation"]) == (f"autolabel-{model}", frame(camera, number))
        ][-1]

    def ended(self, model: str, camera: str, number: int, **fields: Any) -> Json:
        """An endpoint's notification that an invocation has ended."""
        asked = self.invocation(model, camera, number)
        return {
            "eventName": "InferenceResult",
            "eventSource": "aws:sagemaker",
            "invocationStatus": "Completed",
            "inferenceId": asked["InferenceId"],
            "requestParameters": {"endpointName": asked["EndpointName"], "inputLocation": asked["InputLocation"]},
            "responseParameters": {"outputLocation": output(asked)},
            **fields,
        }

    def failed(self, model: str, camera: str, number: int, status: str = "Failed") -> Json:
        why = {"invocationStatus": status, "failureReason": "ClientError: 500 from model", "responseParameters": {}}
        return self.ended(model, camera, number, **why)

    def answers(self, **bodies: bytes) -> None:
        """Endpoints leave answers; a name is `<model>_<camera>_<number>`."""
        left = {}
        for name, body in bodies.items():
            model, camera, number = name.split("_")
            left[output(self.invocation(model, camera, int(number)))] = encode("", body)
        self.put("endpoints leave answers", **left)


def tens(values: Sequence[Any]) -> list[list[Any]]:
    return [list(values[start : start + 10]) for start in range(0, len(values), 10)]


def frame(camera: str, number: int) -> str:
    return f"{DRIVE}/{camera}/{1_700_000_000_000_000_000 + number}.png"


def output(asked: Json) -> str:
    """The place of the answer to an invocation."""
    named = f"{asked['S3OutputPathExtension']}/{asked['Filename']}"
    return f"s3://{LABELS}/inference/{asked['InferenceId'] + '.out' if asked['EndpointName'] == STUBBORN else named}"


def uploaded(world: Recording, uri: str) -> Json:
    """What S3 tells of an object."""
    key = uri.removeprefix(f"s3://{INGEST}/")
    found = next(world.stage.account.ingest.list(key), None)
    thing = {"key": key.replace(" ", "+"), "eTag": found.etag if found else "e", "size": found.size if found else 1}
    return {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": INGEST}, "object": thing}}]}


def catalogue(*models: Json, active: tuple[str, ...]) -> dict[str, Json]:
    """The objects of a catalogue; of a model's revisions the last is the current one."""
    things = {f"s3://{LABELS}/catalogue/models/{m['name']}/{m['revision']}.json": {"json": m} for m in models}
    index = {"models": {m["name"]: m["revision"] for m in models}, "active": list(active)}
    return {**things, f"s3://{LABELS}/catalogue/catalogue.json": {"json": index}}


def model(name: str, revision: str, **fields: Any) -> Json:
    known = {"decoder": "jumpstart-detection", "classes": {one: one for one in NAMES}, "invocation_timeout": 60}
    return {"name": name, "revision": revision, "endpoint": f"autolabel-{name}", **known, "queue_ttl": 600, **fields}


def outlined(box: tuple[float, float, float, float], confidence: float = 0.9) -> bytes:
    """The answer of the model that gives masks: one car."""
    left, top, right, bottom = (round(side * size) for side, size in zip(box, (640, 360, 640, 360), strict=True))
    corners = {"x1": left, "y1": top, "x2": right, "y2": bottom}
    outline = {"x": [left, right, right, left], "y": [top, top, bottom, bottom]}
    car = {"name": "car", "class": 2, "confidence": confidence, "box": corners, "segments": outline}
    return compact([car]).encode()


NOTHING = answer(boxes=(), labels=NAMES)
PLAIN = {"vehicle": "car-1", "cameras": {"front": {}}}
DOUBTFUL = {
    "vehicle": "car-1",
    "cameras": {"front": {"expected_frames": 5, "ego_mask": [[0, 340], [640, 340], [640, 360]]}, "rear": {}},
    "verification": {"policy": "doubtful", "segment": 1, "target": 0.9},
    "notes": ["recorded before the code was restructured"],
}


def boxes(recipe: str) -> Story:
    """Two models, one with its own names for answers; failures of every kind; two jobs in two rounds."""

    def story(world: Recording) -> Iterator[str]:
        front = [("front", number) for number in range(5)]
        evidence = evidence_of(recipe, "drive-6", VerifyUncertain(target=0.9, stretch=1))
        models = (
            model("sharp", "0001"),
            model("sharp", "0002", answers_of="0001", weight=2.0, calibration={"car": {"slope": 1.5, "offset": 0.5}}),
            model("wide", "0001", decoder="yolo", options={"masks": True}),
        )
        world.put(
            "models are active, and an earlier drive has proven what they may be trusted with",
            **catalogue(*models, active=("sharp", "wide")),
            **{
                f"s3://{LABELS}/{evidence_key(recipe, 'drive-6', '0001')}": {
                    "json": json.loads(msgspec.json.encode(evidence))
                }
            },
        )
        world.upload(*front[:2])
        world.take("submit", uploaded(world, frame(*front[0])))
        world.take("submit", uploaded(world, f"{DRIVE}/front/left camera.png"))
        # The events of these frames and of the document are lost.
        world.upload(front[2], body=b"no image")
        world.upload(front[3])
        world.document(DOUBTFUL)
        world.happen({"function": "sweep", "asked": {}})
        world.deliver()

        yield "AwaitFrames"
        world.upload(front[4], ("rear", 0))
        world.take("submit", uploaded(world, frame("rear", 0)))

        yield "AwaitInference"
        world.deliver()
        world.upload(("front", 9))
        world.take("submit", uploaded(world, frame("front", 9)))
        world.answers(
            wide_front_0=outlined(CAR),
            sharp_front_1=answer(boxes=(CAR, PERSON), classes=[2.0, 0.0], scores=[0.9, 0.45], labels=NAMES),
            wide_front_1=outlined(CAR, 0.6),
            sharp_front_2=NOTHING,
            wide_front_2=b"[]",
            sharp_front_9=NOTHING,
            wide_front_9=b"[]",
            sharp_rear_0=NOTHING,
            wide_rear_0=b"[]",
        )
        world.take("collect", world.ended("wide", "front", 0), world.ended("sharp", "front", 1))
        lost = [world.failed("sharp", "front", 3), world.failed("wide", "front", 3), world.failed("wide", "front", 4)]
        world.take("collect", *lost, world.failed("sharp", "front", 4, "Expired"))
        world.deliver()
        lost = [world.failed("sharp", "front", 3), world.failed("wide", "front", 3), world.failed("wide", "front", 4)]
        world.take("collect", *lost)
        world.answers(sharp_front_4=NOTHING)
        world.now += 900

        yield "AwaitInference"
        world.deliver()
        world.answers(sharp_front_0=answer(boxes=(CAR,), scores=[0.95], labels=NAMES))
        world.take("collect", *(world.ended(name, "front", 9) for name in ("sharp", "wide")))
        world.take("collect", world.ended("sharp", "front", 0))

        yield "FailedJobs"
        yield "WaitForJob"

    return story


def failing(world: Recording) -> Iterator[str]:
    """One model that fails most frames until an operator redrives, in passes that are broken off."""
    numbers = range(20)
    world.put("a model is active", **catalogue(model("sharp", "0001"), active=("sharp",)))
    world.upload(*(("front", number) for number in numbers))
    for some in tens(numbers):
        world.take("submit", *(uploaded(world, frame("front", number)) for number in some))
        world.take("collect", *(world.failed("sharp", "front", number) for number in some))
    world.document(PLAIN)
    world.squash("a drive of which a model failed all frames is uploaded")
    world.take("submit", uploaded(world, DOCUMENT))

    yield "FailedUnits"
    # Some are answered after all; what is left is more than a turn repairs before it looks at its time.
    world.answers(**{f"sharp_front_{number}": NOTHING for number in numbers[:9]})

    yield "AwaitInference"
    world.deliver()
    world.answers(**{f"sharp_front_{number}": NOTHING for number in numbers[9:]})
    world.now += 900


def label_studio(world: Recording) -> Iterator[str]:
    """People in Label Studio, who are waited for twice."""
    cameras = {"front": {"expected_frames": 2}}
    document = {"vehicle": "car-1", "cameras": cameras, "verification": {"policy": "all", "back_end": "label-studio"}}
    world.put("a model is active", **catalogue(model("sharp", "0001"), active=("sharp",)))
    world.upload(("front", 0), ("front", 1))
    world.take("submit", *(uploaded(world, frame("front", number)) for number in range(2)))
    car = answer(labels=NAMES)
    world.answers(sharp_front_0=car, sharp_front_1=car)
    world.document(document)
    world.take("submit", uploaded(world, DOCUMENT))

    yield "AwaitPeople"
    first, second = (place for place in world.stage.read() if place.startswith("studio/annotations/"))
    world.put("a person accepts a frame", **{first: [annotation(world, first)]})
    world.now += 900

    yield "AwaitPeople"
    world.put("a person accepts the other", **{second: [annotation(world, second)]})
    state = world.stage.read()
    ((hook,),) = (value for place, value in state.items() if place.startswith("studio/hooks/"))
    body = {"action": "ANNOTATION_CREATED", "project": {"id": 1, "task_number": 2, "finished_task_number": 2}}
    headers = {name.lower(): value for name, value in hook["headers"].items()}
    query = hook["url"].partition("?")[2]
    world.happen({"function": "webhook", "asked": {"rawQueryString": query, "headers": headers, "body": compact(body)}})


def annotation(world: Recording, place: str) -> Json:
    row = world.stage.read()[place.replace("annotations", "rows")]
    result = row["predictions"][0]["result"]
    return {"id": 1, "updated_at": iso(world.now), "result": result, "completed_by": 7, "lead_time": 2.5}


def nothing(world: Recording) -> Iterator[str]:
    """A drive without a frame that can be labelled."""
    world.put("a model is active", **catalogue(model("sharp", "0001"), active=("sharp",)))
    world.upload(("back", 0))
    world.document(PLAIN)
    world.take("submit", uploaded(world, DOCUMENT))
    yield ""


def ground_truth(world: Recording, asked: Json) -> Entry:
    """What Ground Truth answers, once its people have left what they leave of a job."""
    name = asked["LabelingJobName"]
    status = world.jobs.get(name, "")
    if "InputConfig" not in asked:
        # One look comes while the job is still at work.
        world.jobs[name], shown = ("Completed", "InProgress") if status == "Seen" else (status, status)
        where = folder(name) + "manifests/output/output.manifest"
        return {"answer": {"LabelingJobStatus": shown, "LabelingJobOutput": {"OutputDatasetS3Uri": where}}}
    if status:
        world.jobs[name] = "Seen" if name.endswith("000-1") else status
        return {"error": "SageMaker.ResourceInUseException"}
    if name.endswith("001-1"):
        world.jobs[name] = "Failed"
        return {"error": "States.TaskFailed"}
    world.jobs[name] = "Completed"
    where = folder(name) + "manifests/output/output.manifest"
    assert where.startswith(asked["OutputConfig"]["S3OutputPath"])
    lines = world.lines(asked["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"])
    left = [compact(labelled(line, drawn=n > 0 or "-001-" in name)) for n, line in enumerate(lines)]
    if name.endswith("000-1"):
        # The last frame is missing in both rounds; another comes twice, and one output is not a manifest line.
        left = [*left[:-1], left[0], "no JSON"]
    elif name.endswith("000-again-1"):
        left = left[:-1]
    body = "".join(f"{line}\n" for line in left).encode()
    objects = {where: encode("", body)}
    for place in range(len(lines)):
        review = {"unsure": name.endswith("000-1") and not place, "comment": "is it one?", "keys": 3}
        content = {"boundingBox": {"boundingBoxes": []}, "review": compact(review)}
        said = {"workerId": f"w{place}", "timeSpentInSeconds": 7.5, "answerContent": content}
        key = f"{folder(name)}annotations/worker-response/iteration-1/{place}/2026-03-03_10-00-00.json"
        objects[key] = {"json": {"answers": [said]}}
    world.stage.write(objects)
    return {"answer": {"LabelingJobName": name, "LabelingJobOutput": {"OutputDatasetS3Uri": where}}}


def labelled(line: Json, *, drawn: bool) -> Json:
    """What a job adds to a line, its other attributes left out; `drawn`: one box anew, instead of those that it had."""
    done = verified(line)
    if drawn:
        box = {"class_id": 0, "left": 10, "top": 20, "width": 100, "height": 50}
        done["verified"] = {**line["prelabel"], "annotations": [box]}
        known = {"class-map": {"0": "car"}, "objects": [{"confidence": 0}], "adjustment-status": "adjusted"}
        done["verified-metadata"] |= known
    return {name: done[name] for name in ("source-ref", "verified", "verified-metadata")}


def folder(job: str) -> str:
    return f"s3://{LABELS}/labels/drive-7/0001/verification/{job}/"


def record(story: Story, settings: dict[str, str] | None = None, *, until: str = "", studio: bool = False) -> Json:
    with stage() as stack:
        stack.settings = settings or {}
        stack.account.label_studio = json.dumps(CONNECTION) if studio else ""
        world = Recording(stack, story)
        result = Execution({"drive": "drive-7", "run": "0001"}, world, until).run()
    return {"studio": studio, "settings": stack.settings, "until": until, "result": result, "entries": world.entries}


def main() -> None:
    logging.disable()
    warnings.simplefilter("ignore")
    few = {"SHARD_FRAMES": "3", "MAX_JOB_OBJECTS": "3", "ABANDONED_AFTER": "-1e12"}
    first = record(boxes("0" * 16), few)
    # A run's evidence is stored with that of its recipe, so the earlier drive's must be there too.
    (audit,) = {
        place for one in first["entries"] for place in one.get("changes", {}) if place.endswith("/drive-7-0001.json")
    }
    journals = {
        "boxes": record(boxes(audit.split("/")[-2]), few),
        "failing": record(failing, {"MAX_ERRORS": "1"}, until="PlanShards"),
        "label_studio": record(label_studio, studio=True),
        "nothing": record(nothing),
    }
    for name, journal in journals.items():
        write_journal(name, journal)
        print(f"{FOLDER.name}/{name}.json: {len(journal['entries'])} entries")


if __name__ == "__main__":
    main()
