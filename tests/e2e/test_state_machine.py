"""Every branch of the state machine on the embedded cloud, with failures and redrives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from autolabel.contracts.drive import FIRST_RUN
from autolabel.contracts.run_folder import RunFolder
from autolabel.labels.taxonomy import current_taxonomy
from autolabel.verification.jobs import job_name, label_categories, worker_template
from local import Fault
from tests.e2e.pipeline import Pipeline, eventually, image, timestamps

pytestmark = pytest.mark.cloud
LABELS = ("car", "van", "truck", "bus", "motorcycle", "bicycle", "person", "rider", "traffic light", "ignore")


def entered(pipeline: Pipeline, drive: str) -> list[str]:
    return [state.name for state in pipeline.view(drive).look().states]


def frames(count: int) -> dict[str, bytes]:
    return {f"front/{time}.png": image() for time in timestamps(count)}


def status_of(pipeline: Pipeline, job: str) -> str:
    described = pipeline.cloud.client("sagemaker").describe_labeling_job(LabelingJobName=job)
    return str(described["LabelingJobStatus"])


def make_job(pipeline: Pipeline, drive: str, lines: list[dict[str, Any]]) -> str:
    """Create the labelling job of the drive's execution in advance, like a call whose answer was lost."""
    labels, prefix = pipeline.stack.labels, RunFolder(drive, FIRST_RUN).prefix + "verification/lost"
    labels.write(f"{prefix}.manifest", b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    labels.write(f"{prefix}.categories", label_categories(LABELS))
    labels.write(f"{prefix}.html", worker_template(current_taxonomy().colors, LABELS))
    roles = pipeline.cloud.client("cloudformation").describe_stack_resource(
        StackName=pipeline.stack.name, LogicalResourceId="LabelingRole"
    )
    role = roles["StackResourceDetail"]["PhysicalResourceId"]
    name = job_name(labels.name, drive, FIRST_RUN, 0) + "-1"
    account = "arn:aws:lambda:us-east-1:432418664414:function:"
    pipeline.cloud.client("sagemaker").create_labeling_job(
        LabelingJobName=name,
        LabelAttributeName="verified",
        LabelCategoryConfigS3Uri=labels.uri(f"{prefix}.categories"),
        RoleArn=role if role.startswith("arn:") else f"arn:aws:iam::000000000000:role/{role}",
        InputConfig={"DataSource": {"S3DataSource": {"ManifestS3Uri": labels.uri(f"{prefix}.manifest")}}},
        OutputConfig={"S3OutputPath": labels.uri(f"{prefix}/out")},
        HumanTaskConfig={
            "WorkteamArn": "arn:aws:sagemaker:us-east-1:000000000000:workteam/private-crowd/autolabel",
            "UiConfig": {"UiTemplateS3Uri": labels.uri(f"{prefix}.html")},
            "PreHumanTaskLambdaArn": account + "PRE-AdjustmentBoundingBox",
            "AnnotationConsolidationConfig": {
                "AnnotationConsolidationLambdaArn": account + "ACS-AdjustmentBoundingBox"
            },
            "TaskTitle": "t",
            "TaskDescription": "d",
            "NumberOfHumanWorkersPerDataObject": 1,
            "TaskTimeLimitInSeconds": 60,
        },
    )
    return name


def line_of(pipeline: Pipeline, drive: str, name: str) -> dict[str, Any]:
    size = [{"width": 640, "height": 360, "depth": 3}]
    uri = pipeline.stack.ingest.uri(f"drives/{drive}/{name}")
    return {
        "source-ref": uri,
        "review-ref": uri,
        "prelabel": {"image_size": size, "annotations": []},
        "prelabel-metadata": {"objects": [], "class-map": {}, "type": "groundtruth/object-detection"},
    }


def test_a_drive_document_delivered_twice_starts_one_execution(pipeline: Pipeline) -> None:
    pipeline.upload("twice", frames(1))
    pipeline.close("twice", cameras={"front": {}})
    pipeline.succeed("twice")
    executions = pipeline.cloud.client("stepfunctions").list_executions(
        stateMachineArn=pipeline.stack.outputs["StateMachineArn"], maxResults=1000
    )["executions"]
    assert [e["name"] for e in executions].count("twice-0001") == 1


def test_a_wait_that_times_out_leads_to_another_pass(pipeline: Pipeline) -> None:
    # Given an endpoint that is missing when the drive is closed
    with pipeline.without_endpoint():
        pipeline.upload("patient", frames(2))
        # When the run's wait times out
        eventually(lambda: entered(pipeline, "patient").count("AwaitInference") > 1 or None, "a second wait", 60)
    # Then the run goes on when the endpoint is back, and no frame failed
    summary = pipeline.succeed("patient")
    assert summary["frames"] == {"uploaded": 2, "labelled": 2, "failed": 0, "rejected": 0}


def test_a_failed_shard_fails_the_run_and_a_redrive_resumes_it(pipeline: Pipeline) -> None:
    # Given a label function that cannot start
    functions = pipeline.cloud.client("lambda")
    name = next(
        f["FunctionName"] for f in functions.list_functions()["Functions"] if "LabelFunction" in f["FunctionName"]
    )
    good = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    broken = {key: value for key, value in good.items() if key != "LEDGER_TABLE"}
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": broken})
    # When a drive is labelled
    pipeline.upload("shards", frames(9))
    progress = pipeline.end("shards")
    assert progress.status == "FAILED", progress
    assert "ended as FAILED" in pipeline.told_ops("shards-0001")
    before = [s.name for s in progress.states]
    assert before[-1] == "LabelShards"
    # Then, when the cause is fixed, a redrive goes on with LabelShards, not with a state before it
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": good})
    pipeline.redrive("shards")
    summary = pipeline.succeed("shards")
    assert summary["frames"]["labelled"] == 9
    after = entered(pipeline, "shards")[len(before) :]
    assert after[0] in ("LabelShards", "Link")
    # Nine frames are two jobs and so two parts
    assert after[-3:] == ["More than one part?", "PublishParts", "Publish"]


def test_a_redrive_after_a_stopped_labelling_job_repeats_only_that_job(pipeline: Pipeline) -> None:
    # Given two jobs (of at most eight frames), and an operator who stops the first one
    pipeline.upload("stopped", frames(12))
    stem = job_name(pipeline.stack.labels.name, "stopped", FIRST_RUN, 0)
    other = job_name(pipeline.stack.labels.name, "stopped", FIRST_RUN, 1)
    sagemaker = pipeline.cloud.client("sagemaker")

    def in_progress() -> bool:
        try:
            return status_of(pipeline, f"{stem}-1") == "InProgress"
        except ClientError:
            return False

    eventually(in_progress, "the first labelling job")
    sagemaker.stop_labeling_job(LabelingJobName=f"{stem}-1")
    # Then the run fails in a state whose name says why, and the other job is untouched
    progress = pipeline.end("stopped")
    assert (progress.status, progress.error) == ("FAILED", "LabelingFailed")
    assert f"{stem}-1" in progress.failure
    assert progress.states[-1].name == "FailedJobs"
    assert status_of(pipeline, f"{other}-1") == "Completed"
    # And a redrive repeats only the job that was not labelled
    pipeline.redrive("stopped")
    summary = pipeline.succeed("stopped")
    assert [job["job"] for job in summary["verification"]] == [f"{stem}-2", f"{other}-1"]


def test_a_missing_work_team_fails_the_run_until_it_is_fixed(pipeline: Pipeline) -> None:
    # Given a stack with a work team that was deleted
    functions = pipeline.cloud.client("lambda")
    name = next(
        f["FunctionName"] for f in functions.list_functions()["Functions"] if "AssembleFunction" in f["FunctionName"]
    )
    good = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def ask(crowd: str, team: str) -> None:
        arn = good["WORKTEAM_ARN"].partition("workteam/")[0] + f"workteam/{crowd}/{team}"
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": {**good, "WORKTEAM_ARN": arn}}
        )

    ask("private-crowd", "dissolved")
    try:
        pipeline.upload("teamless", frames(2))
        # Then the run fails and names the team
        progress = pipeline.end("teamless")
        assert (progress.status, progress.error) == ("FAILED", "LabelingFailed")
        assert "dissolved" in progress.failure
        # And a public crowd is refused before a job is made
        ask("public-crowd", "default")
        pipeline.redrive("teamless")
        progress = pipeline.end("teamless")
        assert (progress.status, progress.error) == ("FAILED", "VerificationRefused")
        assert "public crowd" in progress.failure
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": good})
    pipeline.redrive("teamless")
    summary = pipeline.succeed("teamless")
    assert [job["verified"] for job in summary["verification"]] == [2]


def test_a_job_whose_creation_got_no_answer_is_followed_to_its_end(pipeline: Pipeline) -> None:
    names = list(frames(2))
    for name, body in frames(2).items():
        pipeline.put("adopted", name, body)
    job = make_job(pipeline, "adopted", [line_of(pipeline, "adopted", name) for name in names[:1]])
    pipeline.close("adopted", cameras={"front": {}})
    summary = pipeline.succeed("adopted")
    # The job has only one of the frames, so a second round has the other one.
    assert summary["verification"] == [
        {"job": job, "status": "Completed", "frames": 2, "verified": 2, "unadjusted": 2, "rounds": 2}
    ]
    jobs = [line["provenance"]["job"] for line in pipeline.lines("adopted", "dataset.manifest")]
    assert jobs == [job, f"{job.removesuffix('-1')}-again-1"]
    # The portal gives it to another person.
    sagemaker = pipeline.cloud.client("sagemaker")
    arn = sagemaker.describe_labeling_job(LabelingJobName=jobs[1])["LabelingJobArn"]
    tag = {"Key": "second-look-at", "Value": job.removesuffix("-1")}
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [tag]


def test_an_earlier_job_without_labels_is_followed_by_the_next_attempt(pipeline: Pipeline) -> None:
    drive = "stopped-before"
    frame, body = next(iter(frames(1).items()))
    pipeline.put(drive, frame, body)
    name = make_job(pipeline, drive, [line_of(pipeline, drive, frame)])
    sagemaker = pipeline.cloud.client("sagemaker")
    sagemaker.stop_labeling_job(LabelingJobName=name)
    eventually(lambda: status_of(pipeline, name) == "Stopped", "the end of the job")
    pipeline.close(drive, cameras={"front": {}})
    summary = pipeline.succeed(drive)
    assert [job["job"] for job in summary["verification"]] == [name[:-1] + "2"]


def test_the_end_of_a_run_is_announced_with_its_counts(pipeline: Pipeline) -> None:
    events, sqs = pipeline.cloud.client("events"), pipeline.cloud.client("sqs")
    arn = "arn:aws:sqs:us-east-1:000000000000:labelled"
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{**allow, "Resource": arn}]})
    queue = sqs.create_queue(QueueName="labelled", Attributes={"Policy": policy})["QueueUrl"]
    events.put_rule(Name="labelled", EventPattern=json.dumps({"source": ["autolabel"]}))
    events.put_targets(Rule="labelled", Targets=[{"Id": "queue", "Arn": arn}])
    pipeline.upload("announced", frames(1))
    pipeline.succeed("announced")
    message = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "the announcement")[0]
    event = json.loads(message["Body"])
    assert event["detail-type"] == "DriveLabelled"
    assert event["detail"]["frames"]["labelled"] == 1
    assert event["detail"]["dataset"] == pipeline.stack.labels.uri(RunFolder("announced", FIRST_RUN).dataset)


def test_a_model_that_fails_most_frames_stops_the_run_until_a_redrive(pipeline: Pipeline) -> None:
    pipeline.upload("failing", {f"front/{time}.png": image(643) for time in timestamps(20)})
    progress = pipeline.end("failing")
    assert progress.status == "FAILED"
    assert "failed 20 of 20 frames" in progress.failure
    assert "PlanShards" not in entered(pipeline, "failing")
    pipeline.redrive("failing")
    # They fail again. After a redrive the run goes on, and the frames go to reviewers without boxes.
    assert pipeline.succeed("failing")["frames"]["failed"] == 20
    assert entered(pipeline, "failing").count("FailedUnits") == 1


def test_cut_off_frames_are_rejected_and_do_not_count_against_the_model(pipeline: Pipeline) -> None:
    cut = {f"front/{time}.jpg": image(643, kind="JPEG")[:-200] for time in timestamps(24)}
    pipeline.upload("cut", {**cut, **{f"rear/{time}.png": image() for time in timestamps(6)}})
    summary = pipeline.succeed("cut")
    assert summary["frames"] == {"uploaded": 30, "labelled": 6, "failed": 0, "rejected": 24}
    assert summary["reasons"] == {"rejected": {"image-truncated": 24}}
    assert "FailedUnits" not in entered(pipeline, "cut")


@pytest.mark.parametrize(
    ("drive", "fault"),
    [
        ("stumbled-read", Fault("call", "error", "states", "s3", "GetObject", "SlowDown")),
        ("stumbled-write", Fault("call", "error", "states", "s3", "PutObject", "SlowDown")),
        ("stumbled-job", Fault("call", "error", "states", "sagemaker", "CreateLabelingJob", "ThrottlingException")),
        ("stumbled-quota", Fault("call", "error", "states", "sagemaker", "CreateLabelingJob", "ResourceLimitExceeded")),
        ("stumbled-answer", Fault("call", "lost", "states", "sagemaker", "CreateLabelingJob", "InternalFailure")),
    ],
)
def test_a_temporary_service_error_needs_no_redrive(pipeline: Pipeline, drive: str, fault: Fault) -> None:
    pipeline.cloud.faults.arm(1, [fault])
    pipeline.upload(drive, frames(2))
    assert pipeline.succeed(drive)["frames"]["labelled"] == 2
    assert pipeline.cloud.faults.injected() == {str(fault): 1}


def test_a_run_whose_frames_s3_does_not_give_out_fails_until_it_does(pipeline: Pipeline) -> None:
    s3, ingest = pipeline.cloud.client("s3"), pipeline.stack.ingest.name
    keys = [f"drives/archived/front/{time}.png" for time in timestamps(3)]
    # Given a drive with two frames in an archive
    for key, place in zip(keys, ("GLACIER", "GLACIER", "STANDARD"), strict=True):
        s3.put_object(Bucket=ingest, Key=key, Body=image(), StorageClass=place)
    pipeline.close("archived", cameras={"front": {}})
    # When its run ends, then the error names a frame with S3's code
    progress = pipeline.end("archived", 180)
    assert (progress.status, progress.error, progress.states[-1].name) == ("FAILED", "FramesUnreadable", "FailedFrames")
    assert f"{keys[0]}: InvalidObjectState" in progress.failure
    # And when one is restored, a redrive labels what it can read
    s3.put_object(Bucket=ingest, Key=keys[0], Body=image())
    pipeline.redrive("archived")
    summary = pipeline.succeed("archived")
    assert (summary["frames"]["labelled"], summary["reasons"]) == (2, {"rejected": {"s3-InvalidObjectState": 1}})
    # And its progress tells of the frame that is left out
    assert pipeline.end("archived").rejected == {"s3-InvalidObjectState": 1}
