"""Several reviewers of strips: the states of a verification job, walked over what their functions do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import yaml

from autolabel.verification.attempts import JobAttempt, take_attempt
from autolabel.verification.ground_truth import read_answers, read_output
from autolabel.verification.jobs import JobRound, VerificationJob
from autolabel.verification.sequences import write_sequences
from autolabel.verification.settlement import Settled, settle_round
from local import Evaluation
from tests.contract.template import state_machine_text
from tests.fakes.pipeline import Pipeline
from tests.unit.pipeline.test_several_reviewers_of_tracks import kept, renaming
from tests.unit.pipeline.test_verifying_tracks import FRAMES, assembled

trucks = renaming("truck")
VERIFY: dict[str, Any] = yaml.safe_load(state_machine_text())["States"]["Verify"]
STATES: dict[str, Any] = VERIFY["ItemProcessor"]["States"]


class Walk:
    """The execution of one job. `ends`: how labelling jobs end, by attempt; the others complete.

    stopped: after one strip. lost: it completes, and the call that waits for it never hears of it. differs: the
    reviewer says that all objects are trucks.
    """

    def __init__(self, pipeline: Pipeline, job: VerificationJob, ends: dict[int, str]) -> None:
        self.created: list[dict[str, Any]] = []
        self.settled: list[Settled] = []
        self._pipeline = pipeline
        self._ends = ends
        self._item = msgspec.to_builtins(job)

    def run(self) -> dict[str, Any]:
        """Walk to the end; return the job's outcome."""
        data = self._scope({}).template(VERIFY["ItemSelector"])
        name = VERIFY["ItemProcessor"]["StartAt"]
        while True:
            state = STATES[name]
            scope = self._scope(data)
            if state["Type"] == "Choice":
                met = (choice["Next"] for choice in state["Choices"] if scope.template(choice["Condition"]))
                name = next(met, state["Default"])
                continue
            following = state.get("Next")
            if state["Type"] == "Task":
                data, following = self._task(name, state, scope)
            elif state["Type"] == "Pass":
                data = scope.template(state["Output"])
            if not following:
                return dict(data)
            name = following

    def _scope(self, data: Any) -> Evaluation:
        entered = datetime(2026, 1, 2, tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        execution = {"Input": {"drive": "d", "run": "0001"}}
        context = {"Execution": execution, "State": {"EnteredTime": entered}, "Map": {"Item": {"Value": self._item}}}
        return Evaluation(data, context, {})

    def _task(self, name: str, state: dict[str, Any], scope: Evaluation) -> tuple[Any, str]:
        text = json.dumps(state["Arguments"]).replace("${StripTimeLimit}", "1").replace("${TaskTimeLimit}", "1")
        arguments = scope.template(json.loads(text))
        if name == "LabelingJob":
            return self._labelling_job(state, scope, arguments)
        if name == "FindLabelingJob":
            found = self._pipeline.jobs.jobs[arguments["LabelingJobName"]]
            result: Any = {"LabelingJobStatus": found.status, "LabelCounters": {"TotalLabeled": found.labelled}}
            result |= {"LabelingJobOutput": {"OutputDatasetS3Uri": found.output}} if found.output else {}
        else:
            result = {"Payload": msgspec.to_builtins(getattr(self, f"_{name.lower()}")(arguments["Payload"]))}
        return scope.template(state["Output"], result=result), state["Next"]

    def _labelling_job(self, state: dict[str, Any], scope: Evaluation, asked: dict[str, Any]) -> tuple[Any, str]:
        jobs, name = self._pipeline.jobs, asked["LabelingJobName"]
        in_use, failed = state["Catch"]
        if name in jobs.jobs:
            return scope.template(in_use["Output"]), in_use["Next"]
        self.created.append(asked)
        attempt = int(name.rpartition("-")[2])
        end = self._ends.get(attempt, "completed")
        made = jobs.create(name, asked["InputConfig"]["DataSource"]["S3DataSource"]["ManifestS3Uri"])
        for place in range(1 if end == "stopped" else len(made.sequences)):
            jobs.answer(name, place, trucks if end == "differs" else kept, worker=f"worker-{attempt}")
        output = jobs.end(name, "Stopped" if end == "stopped" else "Completed")
        if end == "stopped":
            error = {"Error": "States.TaskFailed", "Cause": "stopped"}
            return scope.template(failed["Output"], error=error), failed["Next"]
        if end == "lost":
            return scope.template(in_use["Output"]), in_use["Next"]
        result = {"LabelingJobName": name, "LabelingJobOutput": {"OutputDatasetS3Uri": output}}
        return scope.template(state["Output"], result=result), state["Next"]

    def _cutsequences(self, payload: dict[str, Any]) -> Any:
        cut = payload["cut"]
        return write_sequences(cut["manifest"], cut["strip_frames"], self._pipeline.run.labels, self._pipeline.labels)

    def _takeanswers(self, payload: dict[str, Any]) -> Any:
        labels, classes = self._pipeline.labels, self._pipeline.run.labels
        return take_attempt(
            msgspec.convert(payload["take"], JobAttempt),
            lambda job, lines: read_answers(job, lines, labels, classes),
            label_bucket=labels,
            names=frozenset(classes),
        )

    def _settle(self, payload: dict[str, Any]) -> Any:
        one, labels = msgspec.convert(payload["settle"], JobRound), self._pipeline.labels
        output = read_output(one, labels.lines(self._pipeline.key_of(one.given)), labels)
        self.settled.append(settle_round(one, output, label_bucket=labels, names=frozenset(self._pipeline.run.labels)))
        return self.settled[-1]


def strips_of(walk: Walk, pipeline: Pipeline) -> list[int]:
    """The number of strips of each labelling job."""
    return [len(pipeline.jobs.jobs[asked["LabelingJobName"]].sequences) for asked in walk.created]


def test_each_reviewer_of_strips_has_a_labelling_job() -> None:
    pipeline, assembly = assembled(policy={"reviewers": 3}, strip_frames=4)
    walk = Walk(pipeline, assembly.jobs[0], {2: "lost"})
    outcome = walk.run()
    assert outcome["status"] == "Completed"
    assert strips_of(walk, pipeline) == [2, 2, 2]
    assert [asked["HumanTaskConfig"]["NumberOfHumanWorkersPerDataObject"] for asked in walk.created] == [1, 1, 1]
    titles = [asked["HumanTaskConfig"]["TaskTitle"].rpartition(", ")[2] for asked in walk.created]
    assert titles == ["reviewer 1", "reviewer 2", "reviewer 3"]
    (settled,) = walk.settled
    assert (settled.verified, settled.several, settled.short, settled.again) == (FRAMES, FRAMES, 0, None)


def test_a_redrive_asks_only_for_the_strips_that_lack_an_answer() -> None:
    pipeline, assembly = assembled(policy={"reviewers": 2}, strip_frames=4)
    walk = Walk(pipeline, assembly.jobs[0], {2: "stopped"})
    assert walk.run()["status"] == "Failed"
    assert walk.run()["status"] == "Completed"
    assert strips_of(walk, pipeline) == [2, 2, 1]
    (settled,) = walk.settled
    assert (settled.verified, settled.several, settled.short, settled.again) == (FRAMES, FRAMES, 0, None)


def test_one_more_person_decides_where_reviewers_differ() -> None:
    pipeline, assembly = assembled(policy={"reviewers": 2}, strip_frames=4)
    walk = Walk(pipeline, assembly.jobs[0], {2: "differs"})
    outcome = walk.run()
    assert (outcome["status"], len(outcome["rounds"])) == ("Completed", 2)
    titles = [asked["HumanTaskConfig"]["TaskTitle"].rpartition(", ")[2] for asked in walk.created]
    assert titles == ["reviewer 1", "reviewer 2", "a second look"]
    first, second = walk.settled
    assert (first.disputed, first.again and first.again.frames) == (FRAMES, FRAMES)
    assert (second.verified, second.several, second.again) == (FRAMES, 0, None)


def test_one_reviewer_of_strips_is_settled_at_once() -> None:
    pipeline, assembly = assembled(strip_frames=4)
    walk = Walk(pipeline, assembly.jobs[0], {})
    assert walk.run()["status"] == "Completed"
    assert strips_of(walk, pipeline) == [2]
    assert "reviewer" not in walk.created[0]["HumanTaskConfig"]["TaskTitle"]
    assert not any(".attempt-" in key for key in pipeline.labels.objects)
    (settled,) = walk.settled
    assert (settled.verified, settled.several) == (FRAMES, 0)
