"""statemachine/label_drive.asl.yaml: its substitutions, its edges and its retries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import yaml

import autolabel.aws.settings
import autolabel.contracts.errors
from autolabel.contracts.verification import BOXES, SEGMENTS, TRACKS, Task
from autolabel.datasets.assembly import Assembly
from autolabel.inference.reconcile_pass import Cursor, PassProgress, PassReport, Worst, verdict_of
from autolabel.inference.reconciliation import PassCounts
from autolabel.labelling.plan import Plan
from autolabel.labels.manifest import PRELABEL, PRELABEL_TRACKS, SEGMENTATION
from autolabel.verification.attempts import JobAttempt
from autolabel.verification.jobs import ATTRIBUTES, LAST_ROUND, MAX_JOBS, VerificationJob
from local import Evaluation
from tests.contract.template import ROOT, listed, resources, state_machine_text, template

MACHINE: dict[str, Any] = yaml.safe_load(state_machine_text())
GIVEN = resources("AWS::Serverless::StateMachine")["LabelDriveStateMachine"]["Properties"]["DefinitionSubstitutions"]
# A retry helps neither a run without its record nor a function without its settings.
NEVER_RETRIED = {"RunMissing", "SettingsError"}


def scopes(machine: dict[str, Any] = MACHINE) -> Iterator[dict[str, Any]]:
    """Yield the machine and every map's processor. A state can name only states of the same scope."""
    yield machine
    for state in machine["States"].values():
        if "ItemProcessor" in state:
            yield from scopes(state["ItemProcessor"])


STATES = {name: state for scope in scopes() for name, state in scope["States"].items()}
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}


def targets(state: dict[str, Any]) -> list[str]:
    """List the states that may follow a state."""
    found = [state.get("Next"), state.get("Default")]
    found += [choice["Next"] for choice in state.get("Choices", [])]
    found += [catcher["Next"] for catcher in state.get("Catch", [])]
    return [name for name in found if name]


def test_every_time_is_a_parameter_of_the_template() -> None:
    times = {
        name: state[key] for name, state in STATES.items() for key in ("TimeoutSeconds", "Seconds") if key in state
    }
    assert set(times) == {
        "AwaitFrames",
        "AwaitInference",
        "WaitForEarlierJobs",
        "LabelingJob",
        "WaitForJob",
        "WaitForAnswers",
        "AwaitPeople",
    }
    for value in times.values():
        (name,) = set(re.findall(r"\$\{(\w+)\}", value))
        parameter = GIVEN[name]["Ref"]
        assert template()["Parameters"][parameter]["Type"] == "Number"


def test_names_of_states_are_unique_and_short() -> None:
    names = [name for scope in scopes() for name in scope["States"]]
    assert len(set(names)) == len(names) >= 8
    assert all(len(name) <= 80 for name in names)


def test_every_substitution_is_given_and_every_given_one_is_used() -> None:
    asked = set(re.findall(r"\$\{([A-Za-z]+)\}", state_machine_text()))
    assert asked == set(GIVEN)


def test_every_next_state_is_there_and_every_state_is_reached() -> None:
    for scope in scopes():
        states = scope["States"]
        reached, ahead = set(), [scope["StartAt"]]
        while ahead:
            name = ahead.pop()
            assert name in states
            if name not in reached:
                reached.add(name)
                ahead += targets(states[name])
        assert reached == set(states)


@pytest.mark.parametrize("name", STATES)
def test_a_state_has_exactly_one_way_on(name: str) -> None:
    state = STATES[name]
    ways_on = [("End" in state), ("Next" in state), state["Type"] in ("Choice", "Fail", "Succeed")]
    assert sum(ways_on) == 1
    if state["Type"] == "Choice":
        assert "Default" in state


@pytest.mark.parametrize("name", [name for name, state in STATES.items() if state["Type"] in ("Task", "Map")])
def test_every_task_and_map_state_has_a_comment(name: str) -> None:
    assert STATES[name]["Comment"]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_retried_with_jitter(name: str) -> None:
    retriers = TASKS[name]["Retry"]
    retried = [retrier for retrier in retriers if retrier.get("MaxAttempts", 3)]
    assert retried
    for retrier in retried:
        assert retrier["JitterStrategy"] == "FULL"
        assert retrier["BackoffRate"] > 1
        assert retrier["MaxDelaySeconds"] >= retrier["IntervalSeconds"]
    # States.ALL must be last and alone.
    for position, retrier in enumerate(retriers):
        if "States.ALL" in retrier["ErrorEquals"]:
            assert retrier["ErrorEquals"] == ["States.ALL"]
            assert position == len(retriers) - 1


@pytest.mark.parametrize("name", [n for n, s in TASKS.items() if "lambda:invoke" in s["Resource"]])
def test_permanent_errors_are_not_retried(name: str) -> None:
    final = [set(r["ErrorEquals"]) for r in TASKS[name]["Retry"] if r.get("MaxAttempts") == 0]
    assert set().union(*final) >= NEVER_RETRIED


def waited(retrier: dict[str, Any]) -> float:
    """Return the hours that a retrier waits on average, at full jitter."""
    delays = (retrier["IntervalSeconds"] * retrier["BackoffRate"] ** n for n in range(retrier["MaxAttempts"]))
    return sum(min(delay, retrier["MaxDelaySeconds"]) for delay in delays) / 2 / 3_600


@pytest.mark.parametrize("name", [n for n, s in TASKS.items() if "lambda:invoke" in s["Resource"]])
def test_throttled_calls_have_retries_of_their_own(name: str) -> None:
    # Developer guide of Step Functions: "bp-lambda-serviceexception".
    lost = {"ServiceException", "AWSLambdaException", "SdkClientException", "ClientExecutionTimeoutException"}
    errors = {f"Lambda.{error}" for error in lost | {"TooManyRequestsException"}}
    (own,) = (retrier for retrier in TASKS[name]["Retry"] if errors & set(retrier["ErrorEquals"]))
    assert set(own["ErrorEquals"]) == errors
    assert (own["MaxAttempts"], own["MaxDelaySeconds"]) == (30, 300)


def test_a_full_quota_of_labelling_jobs_is_waited_for() -> None:
    full = {"SageMaker.ResourceLimitExceededException", "SageMaker.ResourceLimitExceeded"}
    (own,) = (r for r in TASKS["LabelingJob"]["Retry"] if full & set(r["ErrorEquals"]))
    assert set(own["ErrorEquals"]) == full
    assert waited(own) > 8
    # An attempt takes three of the 25,000 events that an execution may have.
    assert MAX_JOBS * own["MaxAttempts"] * 3 < 20_000


def test_every_named_error_exists() -> None:
    ours = set(vars(autolabel.contracts.errors)) | set(vars(autolabel.aws.settings))
    for state in TASKS.values():
        for retrier in [*state["Retry"], *state.get("Catch", [])]:
            for error in retrier["ErrorEquals"]:
                assert error in ours or re.match(r"(States|SageMaker|Lambda)\.", error), error


def test_exhausted_retries_are_caught_only_for_verification_jobs() -> None:
    caught = {
        name: {error for c in state["Catch"] for error in c["ErrorEquals"]}
        for name, state in STATES.items()
        if "Catch" in state
    }
    # A failed job would stop the other verification jobs, so it is caught; FailedJobs fails the run after all of them.
    assert caught == {
        "AwaitInference": {"States.Timeout"},
        # It is caught to be raised in a state of its own, from which a redrive leads back to the shards.
        "Assemble": {"FramesUnreadable"},
        "CutSequences": {"States.ALL"},
        "LabelingJob": {"SageMaker.ResourceInUseException", "SageMaker.ResourceInUse", "States.ALL"},
        "FindLabelingJob": {"States.ALL"},
        "TakeAnswers": {"States.ALL"},
        "OpenProject": {"States.ALL"},
        "AwaitPeople": {"States.Timeout", "States.ALL"},
        "LookAtProject": {"States.ALL"},
        "Settle": {"States.ALL"},
    }
    assert "Catch" not in STATES["FailedJobs"]
    assert [c["Next"] for c in STATES["AwaitInference"]["Catch"]] == ["Reconcile"]


def test_a_wait_for_answers_leads_back_to_reconcile() -> None:
    wait = STATES["AwaitInference"]
    assert wait["Resource"].endswith("lambda:invoke.waitForTaskToken")
    assert wait["TimeoutSeconds"].startswith("{% ${AwaitTimeout} * ")
    assert targets(wait) == ["Reconcile", "Reconcile"]


def test_a_run_is_planned_only_when_nothing_is_pending() -> None:
    into = [name for name, state in STATES.items() if "PlanShards" in targets(state)]
    assert into == ["Everything answered?"]
    conditions = {choice["Next"]: choice["Condition"] for choice in STATES["Everything answered?"]["Choices"]}
    assert conditions["PlanShards"] == "{% $states.input.verdict = 'plan shards' %}"
    # The conditions are checked in this order.
    assert list(conditions) == ["Reconcile", "AwaitFrames", "FailedUnits", "PlanShards"]
    assert STATES["Everything answered?"]["Default"] == "AwaitInference"


MAX_FAILED_PERCENT = 50


def turn(**counts: Any) -> dict[str, Any]:
    """Build the output of Reconcile from a pass report, through the state's Output."""
    zeros = dict.fromkeys(("frames", "refused", "units", "answered", "failed", "pending"), 0)
    zeros |= dict.fromkeys(("submitted", "resubmitted", "dropped"), 0)
    report = PassReport("d", "0001", 1, counts.pop("retried", False), **{**zeros, **counts})
    report = msgspec.structs.replace(report, verdict=verdict_of(report, MAX_FAILED_PERCENT))
    result = {"Payload": msgspec.to_builtins(report)}
    handed: dict[str, Any] = evaluation({}).template(STATES["Reconcile"]["Output"], result=result)
    return handed


def evaluation(data: Any, redrives: int | None = None, at: float = 0) -> Evaluation:
    """`at`: seconds since the epoch when the state was entered."""
    execution = {"Input": {"drive": "d", "run": "0001"}, **({"RedriveCount": redrives} if redrives else {})}
    entered = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Evaluation(data, {"Execution": execution, "Task": {"Token": "t"}, "State": {"EnteredTime": entered}}, {})


def next_of(report: dict[str, Any]) -> str:
    state = STATES["Everything answered?"]
    met = (c["Next"] for c in state["Choices"] if evaluation(report).template(c["Condition"]))
    return str(next(met, state["Default"]))


@pytest.mark.parametrize(
    ("counts", "following"),
    [
        ({}, "PlanShards"),
        ({"units": 3, "answered": 3}, "PlanShards"),
        ({"units": 3, "pending": 1}, "AwaitInference"),
        ({"missing": 2}, "AwaitFrames"),
        ({"units": 3, "cursor": Cursor(0, "front/1", PassCounts(units=3))}, "Reconcile"),
        ({"units": 3, "pending": 1, "cursor": Cursor(0, "front/1", PassCounts(units=3))}, "Reconcile"),
        ({"frames": 19, "worst": Worst("m.0001", 19)}, "PlanShards"),
        ({"frames": 20, "worst": Worst("m.0001", 20)}, "FailedUnits"),
        ({"frames": 41, "worst": Worst("m.0001", 20)}, "PlanShards"),
        # One of three models fails every frame.
        ({"frames": 20, "units": 60, "failed": 20, "worst": Worst("m.0001", 20)}, "FailedUnits"),
        ({"frames": 41, "pending": 21, "worst": Worst("m.0001", 20)}, "AwaitInference"),
        ({"frames": 21, "pending": 1, "worst": Worst("m.0001", 20)}, "AwaitInference"),
    ],
)
def test_the_pass_report_decides_the_next_state(counts: dict[str, Any], following: str) -> None:
    assert next_of(turn(**counts)) == following


def test_a_run_that_retried_its_failed_units_continues() -> None:
    assert next_of(turn(frames=20, worst=Worst("m.0001", 20), retried=True)) == "PlanShards"


def test_an_interrupted_pass_continues_at_its_cursor() -> None:
    payload = STATES["Reconcile"]["Arguments"]["Payload"]
    assert evaluation({"drive": "d", "run": "0001"}).template(payload)["progress"] == {}
    report = turn(units=3, cursor=Cursor(1, "front/1", PassCounts(units=3, pending=2), ("m: away",)))
    progress = msgspec.convert(evaluation(report).template(payload)["progress"], PassProgress)
    assert progress == PassProgress(1, False, Cursor(1, "front/1", PassCounts(units=3, pending=2), ("m: away",)))


def test_a_run_that_waits_long_checks_less_often() -> None:
    wait = json.loads(json.dumps(STATES["AwaitInference"]).replace("${AwaitTimeout}", "900"))
    times = [evaluation({"turn": n, "retried": False}).number("t", wait["TimeoutSeconds"]) for n in (1, 199, 200, 1500)]
    assert times == [900, 900, 1800, 13_500]
    handed = {"drive": "d", "run": "0001", "turn": 7, "retried": False}
    assert evaluation({"turn": 7, "retried": False}).template(wait["Output"]) == handed
    assert wait["Catch"][0]["Output"] == wait["Output"]


def test_failed_units_notices_a_redrive() -> None:
    payload = STATES["FailedUnits"]["Arguments"]["Payload"]
    worst = {"model": "m.0001", "failed": 20}
    report = turn(frames=20, worst=Worst(**worst))
    assert evaluation(report).template(payload)["failures"] == {"worst": worst, "frames": 20, "redriven": False}
    assert evaluation(report, redrives=1).template(payload)["failures"]["redriven"] is True


def test_failed_frames_notices_a_redrive() -> None:
    (caught,) = STATES["Assemble"]["Catch"]
    assert caught["Next"] == "FailedFrames"
    held = evaluation({}, redrives=1).template(caught["Output"])
    payload = STATES["FailedFrames"]["Arguments"]["Payload"]
    assert [evaluation(held, redrives=n).template(payload)["redriven"] for n in (1, 2)] == [False, True]
    assert evaluation(held, redrives=1).template(payload)["unreadable"] is True
    # The models could not read the frames either, so their units are tried again, and all states after it run again.
    assert targets(STATES["FailedFrames"]) == ["RetryFrames"]
    assert targets(STATES["RetryFrames"]) == ["Reconcile"]


def test_a_second_job_is_tagged_with_the_name_of_the_first() -> None:
    tags = STATES["LabelingJob"]["Arguments"]["Tags"]
    first = {"round": 1, "name": "now-again-1f-0001-000", "task": "tracks", "reviewers": 1, "attempt": 2}
    assert evaluation(first).template(tags) == []
    second = {**first, "round": 2, "name": f"{first['name']}-again"}
    tagged = [{"Key": "second-look-at", "Value": first["name"]}]
    assert evaluation(second).template(tags) == tagged
    # Each of several reviewers of strips has an attempt, and is another person.
    assert evaluation({**first, "reviewers": 2}).template(tags) == tagged
    assert evaluation({**first, "reviewers": 2, "attempt": 1}).template(tags) == []


def test_a_failed_shard_fails_the_run() -> None:
    shards = STATES["LabelShards"]
    assert shards["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert not any(name.startswith("Tolerated") for name in shards)
    assert shards["MaxConcurrency"] == "${ShardConcurrency}"
    # Child executions of a distributed map cannot read the parent's context.
    assert "$states.context.Execution" not in json.dumps(shards["ItemProcessor"])


# Their outputs are items of a list; the list's state has the drive and the run.
ITEMS = {"JobDone", "JobFailed"}


@pytest.mark.parametrize("name", sorted(STATES.keys() - ITEMS))
def test_a_state_hands_on_the_drive_and_the_run(name: str) -> None:
    state = STATES[name]
    outputs = [one["Output"] for one in (state, *state.get("Catch", [])) if "Output" in one]
    if "ItemSelector" in state:
        outputs.append(state["ItemSelector"])
    for output in outputs:
        # Other outputs are a function's answer, or the input and more.
        if isinstance(output, dict):
            assert output.keys() >= {"drive", "run"}
        else:
            assert re.search(r"\$states\.(input|result\.Payload)\b", output)


@pytest.mark.parametrize("answer", [PassReport, Plan, Assembly])
def test_an_answer_that_is_handed_on_has_the_drive_and_the_run(answer: type[msgspec.Struct]) -> None:
    assert answer.__struct_fields__[:2] == ("drive", "run")
    assert not answer.__struct_config__.omit_defaults


def test_what_any_definition_reads_of_a_pass_is_there_when_it_is_zero() -> None:
    # An execution keeps its definition: one that misses `pending` would wait for ever.
    old = yaml.safe_load((ROOT / "tests" / "contract" / "old_run" / "label_drive.asl.yaml").read_text())
    states = ("Everything answered?", "AwaitFrames", "FailedUnits", "AwaitInference")
    text = json.dumps([machine["States"][name] for machine in (MACHINE, old) for name in states])
    read = set(re.findall(r"\$states\.input\.(\w+)", text))
    assert read >= {"verdict", "pending", "missing", "retried", "worst", "frames", "turn"}
    assert read <= turn().keys()
    assert turn()["pending"] == turn()["missing"] == 0


def test_a_run_ends_after_half_a_year() -> None:
    assert MACHINE["TimeoutSeconds"] == 180 * 86_400
    reviewers = template()["Parameters"]["VerifyTimeoutSeconds"]["MaxValue"]
    assert MACHINE["TimeoutSeconds"] > LAST_ROUND * 2 * reviewers


@pytest.mark.parametrize("prefix", ["publishing/", "scenes/", "views/"])
def test_what_reviewers_need_stays_as_long_as_an_execution(prefix: str) -> None:
    rules = template()["Resources"]["LabelBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (days,) = (rule["ExpirationInDays"] for rule in rules if rule.get("Prefix") == prefix)
    assert days * 86_400 > MACHINE["TimeoutSeconds"]


def test_states_never_pass_labels() -> None:
    for name in ("PlanShards", "Assemble", "Publish"):
        assert STATES[name]["Output"] == "{% $states.result.Payload %}"
    repeated = evaluation({}).template(STATES["FailedUnits"]["Output"], result={"Payload": {"verdict": "wait"}})
    assert repeated.keys() == {"drive", "run", "verdict"}
    assert set(STATES["JobDone"]["Output"]) == {"job", "status", "frames", "first", "last", "rounds"}
    assert set(STATES["JobFailed"]["Output"]) == {*STATES["JobDone"]["Output"], "reason"}


def test_an_existing_job_is_polled_until_it_ends() -> None:
    conditions = " ".join(choice["Condition"] for choice in STATES["Job ended?"]["Choices"])
    for status in ("Completed", "Failed", "Stopped"):
        assert f"'{status}'" in conditions
    assert STATES["Job ended?"]["Default"] == "WaitForJob"
    assert targets(STATES["WaitForJob"]) == ["FindLabelingJob"]


def found_job(**output: Any) -> dict[str, Any]:
    """What is known of a job of the second round after FindLabelingJob; the first round left an output manifest."""
    before = {"name": "d-0001-000-again", "attempt": 1, "output": "s3://labels/first/output.manifest"}
    described = {"LabelingJobStatus": "Failed", "LabelCounters": {"TotalLabeled": 2}, **output}
    known: dict[str, Any] = evaluation(before).template(STATES["FindLabelingJob"]["Output"], result=described)
    return known


def test_a_job_without_an_output_manifest_takes_none_from_an_earlier_job() -> None:
    known = found_job()
    assert (known["job"], known["status"], known["labelled"]) == ("d-0001-000-again-1", "Failed", 2)
    assert known["output"] == ""
    assert found_job(LabelingJobOutput={"OutputDatasetS3Uri": "s3://its/own"})["output"] == "s3://its/own"


def test_a_second_round_waits_anew_for_answers_that_are_late() -> None:
    again = {"rounds": [{"again": {"manifest": "m-again", "frames": 2}}], "name": "n", "round": 1, "since": 7}
    following = evaluation(again).template(STATES["NextRound"]["Output"])
    assert (following["name"], following["attempt"], following["given"]) == ("n-again", 1, "m-again")
    assert "since" not in following


def job(task: Task, reviewers: int = 1, *, views: bool = False) -> dict[str, Any]:
    """Render the CreateLabelingJob request for a job of this task, through the selector of Verify."""
    values = ("d-0001-000", "ground-truth", "m", 1, 0, 0, "c", "t", "w")
    made = VerificationJob(*values, task, ATTRIBUTES[task], 500, reviewers, views)
    selector = evaluation({})
    selector.context["Map"] = {"Item": {"Value": msgspec.to_builtins(made)}}
    asked: dict[str, Any] = selector.template(STATES["Verify"]["ItemSelector"])
    choices = STATES["Back-end?"]["Choices"]
    chosen = [choice["Next"] for choice in choices if evaluation(asked).template(choice["Condition"])]
    assert chosen == (["CutSequences"] if task == TRACKS or views else [])
    if chosen:
        cut = evaluation(asked).template(STATES["CutSequences"]["Arguments"]["Payload"]["cut"])
        assert cut == {"manifest": "m", "strip_frames": 500}
        written = {"Payload": {"manifest": "m.sequences" if task == TRACKS else "m.shown"}}
        asked = evaluation(asked).template(STATES["CutSequences"]["Output"], result=written)
    # Times are numbers once the template is deployed.
    text = json.dumps(STATES["LabelingJob"]["Arguments"])
    arguments = json.loads(text.replace("${StripTimeLimit}", "28800").replace("${TaskTimeLimit}", "3600"))
    rendered: dict[str, Any] = evaluation(asked).template(arguments)
    return rendered


@pytest.mark.parametrize("task", [BOXES, SEGMENTS, TRACKS])
def test_ground_truth_accepts_the_label_attribute_of_the_task(task: Task) -> None:
    name = job(task)["LabelAttributeName"]
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,126}", name)
    assert not name.endswith("-metadata")
    # Ground Truth requires the suffix for references, which segments and tracks are, and forbids it for other labels.
    assert name.endswith("-ref") == (task != BOXES)
    assert name not in ("source", "source-ref", PRELABEL, PRELABEL_TRACKS, SEGMENTATION)


@pytest.mark.parametrize(
    ("task", "kind"),
    [(BOXES, "BoundingBox"), (SEGMENTS, "SemanticSegmentation"), (TRACKS, "VideoObjectTracking")],
)
def test_a_job_uses_ground_truths_functions_for_its_task(task: Task, kind: str) -> None:
    human = job(task)["HumanTaskConfig"]
    consolidation = human["AnnotationConsolidationConfig"]["AnnotationConsolidationLambdaArn"]
    given = [GIVEN[arn.strip("${}")]["Fn::Sub"][0] for arn in (human["PreHumanTaskLambdaArn"], consolidation)]
    assert [arn.rpartition(":")[2] for arn in given] == [f"PRE-Adjustment{kind}", f"ACS-Adjustment{kind}"]
    assert human["TaskTitle"] == f"Correct the {task} of drive d"
    assert all(len(keyword) <= 30 for keyword in human["TaskKeywords"])


def test_a_job_of_tracks_asks_for_sequences_on_ground_truths_own_page() -> None:
    asked = job(TRACKS)
    assert asked["InputConfig"]["DataSource"]["S3DataSource"] == {"ManifestS3Uri": "m.sequences"}
    assert asked["HumanTaskConfig"]["UiConfig"] == {"HumanTaskUiArn": "${TracksPageArn}"}
    page = GIVEN["TracksPageArn"]["Fn::Sub"].replace("${AWS::Partition}", "aws").replace("${AWS::Region}", "eu-west-1")
    assert page == "arn:aws:sagemaker:eu-west-1:394669845002:human-task-ui/VideoObjectTracking"
    assert asked["HumanTaskConfig"]["TaskTimeLimitInSeconds"] == 28_800
    assert job(BOXES)["HumanTaskConfig"]["UiConfig"] == {"UiTemplateS3Uri": "t"}
    assert job(BOXES)["HumanTaskConfig"]["TaskTimeLimitInSeconds"] == 3_600
    role = template()["Resources"]["LabelingRole"]["Properties"]
    # Beyond 8 hours for a task, Ground Truth wants a session of at least 8 hours.
    assert role["MaxSessionDuration"] >= 8 * 3_600


def test_each_of_several_reviewers_of_strips_has_a_job_of_their_own() -> None:
    asked = {task: job(task, reviewers=3)["HumanTaskConfig"] for task in (BOXES, TRACKS)}
    assert [one["NumberOfHumanWorkersPerDataObject"] for one in asked.values()] == [3, 1]
    assert [one["TaskTitle"].partition(", ")[2] for one in asked.values()] == ["", "reviewer 1"]
    for task, reviewers, following in ((BOXES, 3, "Settle"), (TRACKS, 1, "Settle"), (TRACKS, 3, "TakeAnswers")):
        of = evaluation({"task": task, "reviewers": reviewers})
        (choice,) = STATES["One reviewer?"]["Choices"]
        chosen = choice["Next"] if of.template(choice["Condition"]) else STATES["One reviewer?"]["Default"]
        assert chosen == following
    # A job that Step Functions waited for, and one that was found again, both say how they ended.
    result = {"LabelingJobName": "n-1", "LabelingJobOutput": {"OutputDatasetS3Uri": "o"}}
    ended = evaluation({"attempt": 1}).template(STATES["LabelingJob"]["Output"], result=result)
    for known in (ended, found_job(LabelingJobStatus="Completed")):
        known |= {"back_end": "ground-truth", "round": 1, "manifest": "m", "given": "m", "task": TRACKS, "reviewers": 3}
        take = evaluation(known).template(STATES["TakeAnswers"]["Arguments"]["Payload"]["take"])
        one = msgspec.convert(take, JobAttempt)
        assert (one.reviewers, one.completed) == (3, True)


def test_a_job_with_views_gets_the_lines_that_name_views() -> None:
    for views, manifest in ((False, "m"), (True, "m.shown")):
        assert job(BOXES, views=views)["InputConfig"]["DataSource"]["S3DataSource"] == {"ManifestS3Uri": manifest}


def test_each_attempt_of_a_job_of_tracks_gets_sequences_of_its_own() -> None:
    assert STATES["NextAttempt"]["Next"] == STATES["NextRound"]["Next"] == "Back-end?"
    tracks = [choice for choice in STATES["Back-end?"]["Choices"] if "tracks" in choice["Condition"]]
    assert [choice["Next"] for choice in tracks] == ["CutSequences"]


def test_ground_truth_may_invoke_the_functions_that_jobs_name() -> None:
    role = template()["Resources"]["LabelingRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    (invoke,) = (statement for statement in role if statement["Action"] == "lambda:InvokeFunction")
    named = [value for value in GIVEN.values() if ":function:" in str(value)]
    assert len(named) == 8
    assert sorted(map(str, invoke["Resource"])) == sorted(map(str, named))


# Under the policy `none`, no jobs are before them.
@pytest.mark.parametrize("before", [[{"job": "a"}], []])
def test_jobs_of_cuboids_pass_through_verify_and_the_jobs_before_them_come_back(before: list[dict[str, str]]) -> None:
    planned = [{"name": "c", "task": "cuboids"}]
    parts = {"drive": "d", "run": "0001", "parts": 2, "key": "k", "jobs": before, "redrives": 0, "review": True}
    plan = STATES["PlanCuboidJobs"]
    assert evaluation(parts).template(plan["Arguments"]["Payload"]) == {"drive": "d", "run": "0001", "cuboids": True}
    asked = evaluation(parts).template(plan["Output"], result={"Payload": {"jobs": planned}})
    assert following("Any cuboids?", asked) == "Verify"
    assert following("Any cuboids?", {**asked, "jobs": []}) == "CuboidsVerified"
    for status, name in (("Completed", "CuboidsVerified"), ("Failed", "FailedJobs")):
        done = evaluation(asked).template(
            STATES["Verify"]["Output"], result=[{"job": "c-1", "status": status, "reason": "r"}]
        )
        assert following("Every job labelled?", done) == name
    # After a redrive, the same jobs are looked at again.
    assert evaluation(done).template(STATES["FailedJobs"]["Arguments"]["Payload"])["cuboids"] is True
    again = evaluation(done).template(
        STATES["FailedJobs"]["Output"], result={"Payload": {"drive": "d", "run": "0001", "jobs": planned}}
    )
    assert (again["jobs"], again["labels"]) == (planned, before)
    back = evaluation(again).template(STATES["CuboidsVerified"]["Output"])
    assert back == {"drive": "d", "run": "0001", "parts": 2, "key": "k", "jobs": before}


def test_jobs_of_labels_lead_to_the_parts_as_before() -> None:
    asked = {"drive": "d", "run": "0001", "jobs": [{"name": "a"}]}
    done = evaluation(asked).template(STATES["Verify"]["Output"], result=[{"job": "a-1", "status": "Completed"}])
    assert done == {"drive": "d", "run": "0001", "jobs": [{"job": "a-1", "status": "Completed"}], "redrives": 0}
    assert following("Every job labelled?", done) == "PlanParts"
    assert following("Verify cuboids?", {"lift": True, "review": False}) == "More than one part?"
    assert following("Verify cuboids?", {"lift": True}) == "More than one part?"


def following(name: str, data: dict[str, Any]) -> str:
    state = STATES[name]
    met = (c["Next"] for c in state["Choices"] if evaluation(data).template(c["Condition"]))
    return str(next(met, state["Default"]))


def test_a_job_is_settled_for_its_own_task() -> None:
    payload = evaluation({"task": SEGMENTS}).template(STATES["Settle"]["Arguments"]["Payload"]["settle"]["task"])
    assert payload == SEGMENTS


def test_the_machine_may_invoke_only_its_functions() -> None:
    role = template()["Resources"]["LabelDriveRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    (invoke,) = (statement for statement in role if statement["Action"] == "lambda:InvokeFunction")
    given = [value for name, value in GIVEN.items() if isinstance(value, dict) and "Function.Arn" in str(value)]
    key = json.dumps
    assert sorted(listed(invoke["Resource"]), key=key) == sorted(given, key=key)
    called = {task["Arguments"]["FunctionName"] for task in TASKS.values() if "FunctionName" in task["Arguments"]}
    assert len(called) == len(given)


@pytest.mark.parametrize(
    ("state", "field", "events", "days"),
    [
        # AwaitPeople, LookAtProject and the choice after them.
        ("AwaitPeople", "TimeoutSeconds", 14, 180),
        ("WaitForJob", "Seconds", 9, 180),
        # AwaitInference, Reconcile twice and the choices after it. 30 days, as Ground Truth gives reviewers.
        ("AwaitInference", "TimeoutSeconds", 20, 30),
        ("AwaitFrames", "Seconds", 9, template()["Parameters"]["FramesPatienceSeconds"]["MaxValue"] / 86_400),
    ],
)
def test_a_run_that_waits_for_days_stays_within_its_history(state: str, field: str, events: int, days: float) -> None:
    (name,) = set(re.findall(r"\$\{(\w+)\}", STATES[state][field]))
    seconds = str(template()["Parameters"][GIVEN[name]["Ref"]]["Default"])
    expression = STATES[state][field].replace(f"${{{name}}}", seconds)
    turns, waited = 0, 0.0
    while waited < days * 86_400:
        turns += 1
        job = {"turn": turns, "looks": turns, "status": "InProgress", "asked": 0}
        waited += evaluation(job, at=waited).number(field, expression)
    # The limit is 25,000 events, and the rest of the run needs some of them.
    assert turns * events < 20_000
