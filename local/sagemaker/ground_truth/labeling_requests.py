"""The rules that CreateLabelingJob checks at once.

Rules: API reference of CreateLabelingJob (LabelAttributeName, HumanTaskConfig), and the pages on adjustment and
verification jobs of images and videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Literal

from local.sagemaker.errors import UnsupportedHere, ValidationFailed
from local.sagemaker.names import REGION, S3Uri

Kind = Literal["adjustment", "verification", "segmentation", "tracking", "cuboids"]

# API reference, HumanTaskConfig.PreHumanTaskLambdaArn: the account that owns the built-in functions, by Region.
FUNCTION_ACCOUNTS = {
    "us-east-1": "432418664414",
    "us-east-2": "266458841044",
    "us-west-2": "081040173940",
    "ca-central-1": "918755190332",
    "eu-west-1": "568282634449",
    "eu-west-2": "487402164563",
    "eu-central-1": "203001061592",
    "ap-northeast-1": "477331159723",
    "ap-northeast-2": "845288260483",
    "ap-south-1": "565803892007",
    "ap-southeast-1": "377565633583",
    "ap-southeast-2": "454466003867",
}
_KINDS: dict[str, Kind] = {
    "AdjustmentBoundingBox": "adjustment",
    "VerificationBoundingBox": "verification",
    "AdjustmentSemanticSegmentation": "segmentation",
    "AdjustmentVideoObjectTracking": "tracking",
    "Adjustment3DPointCloudObjectDetection": "cuboids",
}
# Kinds whose label is the address of a file, which the name of the attribute must say.
_REFERRING = ("segmentation", "tracking")
# API reference, UiConfig.HumanTaskUiArn: the worker pages of jobs of videos and point clouds belong to AWS.
_UI = f"arn:aws:sagemaker:{REGION}:394669845002:human-task-ui/"
_PAGES: dict[Kind, str] = {"tracking": f"{_UI}VideoObjectTracking", "cuboids": f"{_UI}PointCloudObjectDetection"}
# Developer guide, pages on creating jobs of point clouds: seven days.
_CUBOIDS_SECONDS = 604_800
_RESERVED_ATTRIBUTES = ("source", "source-ref")


def job_kind(request: Mapping[str, Any]) -> Kind:
    """Return the kind of job that a request asks for; raises SageMakerError when its functions do not match."""
    human = request["HumanTaskConfig"]
    before = human.get("PreHumanTaskLambdaArn")
    after = human.get("AnnotationConsolidationConfig", {}).get("AnnotationConsolidationLambdaArn")
    if before is None or after is None:
        raise ValidationFailed(
            "HumanTaskConfig needs PreHumanTaskLambdaArn and AnnotationConsolidationConfig for a built-in task type"
        )
    tasks = [_task("PreHumanTaskLambdaArn", before, "PRE"), _task("AnnotationConsolidationLambdaArn", after, "ACS")]
    if tasks[0] != tasks[1]:
        raise ValidationFailed(f"The functions belong to different task types: {before}, {after}")
    if tasks[0] not in _KINDS:
        raise UnsupportedHere(f"the task type {tasks[0]}; the embedded cloud has {', '.join(_KINDS)}")
    return _KINDS[tasks[0]]


def check_labeling_request(request: Mapping[str, Any], workteams: Set[str]) -> None:
    """Raise SageMakerError for what a shape cannot express: attribute names, the work team, S3 places."""
    kind = job_kind(request)
    _check_attribute_name(request["LabelAttributeName"], kind)
    _check_workteam(request["HumanTaskConfig"]["WorkteamArn"], workteams)
    if request["HumanTaskConfig"]["NumberOfHumanWorkersPerDataObject"] != 1 and kind != "adjustment":
        raise UnsupportedHere("NumberOfHumanWorkersPerDataObject other than 1 for another task than adjusting boxes")
    source = request["InputConfig"]["DataSource"].get("S3DataSource")
    if source is None:
        raise ValidationFailed("InputConfig.DataSource needs S3DataSource")
    if "LabelCategoryConfigS3Uri" not in request:
        raise ValidationFailed("LabelCategoryConfigS3Uri is required for a job of boxes, segments, tracks or cuboids")
    limit = request["HumanTaskConfig"]["TaskTimeLimitInSeconds"]
    if kind == "cuboids" and limit > _CUBOIDS_SECONDS:
        raise ValidationFailed(f"TaskTimeLimitInSeconds {limit} is more than {_CUBOIDS_SECONDS} for a point cloud job")
    _check_worker_page(request["HumanTaskConfig"]["UiConfig"], kind)
    places = {
        "ManifestS3Uri": source["ManifestS3Uri"],
        "S3OutputPath": request["OutputConfig"]["S3OutputPath"],
        "LabelCategoryConfigS3Uri": request["LabelCategoryConfigS3Uri"],
    }
    if kind not in _PAGES:
        places["UiTemplateS3Uri"] = request["HumanTaskConfig"]["UiConfig"]["UiTemplateS3Uri"]
    for member, place in places.items():
        try:
            S3Uri.parse(place)
        except ValueError as e:
            raise ValidationFailed(f"{member}: {e}") from e


def _check_worker_page(page: Mapping[str, Any], kind: Kind) -> None:
    given = page.get("HumanTaskUiArn")
    if kind not in _PAGES:
        if given or "UiTemplateS3Uri" not in page:
            raise ValidationFailed("UiConfig needs UiTemplateS3Uri, and no HumanTaskUiArn, for an image job")
    elif given != _PAGES[kind] or "UiTemplateS3Uri" in page:
        raise ValidationFailed(
            f"UiConfig needs HumanTaskUiArn {_PAGES[kind]}, and no UiTemplateS3Uri, for this task type; "
            f"HumanTaskUiArn is {given}"
        )


def _task(member: str, function_arn: str, prefix: str) -> str:
    """Return the task type in a built-in function's ARN, e.g. `AdjustmentBoundingBox`."""
    expected = f"arn:aws:lambda:{REGION}:{FUNCTION_ACCOUNTS[REGION]}:function:{prefix}-"
    if not function_arn.startswith(expected):
        raise ValidationFailed(f"{member} {function_arn!r} is not a built-in function of {REGION} ({expected}…)")
    return function_arn.removeprefix(expected)


def _check_attribute_name(name: str, kind: Kind) -> None:
    if name in _RESERVED_ATTRIBUTES:
        raise ValidationFailed(f"LabelAttributeName {name!r} is reserved")
    refers = kind in _REFERRING
    if name.endswith("-metadata") or (name.endswith("-ref") and not refers):
        ending = name[name.rindex("-") :]
        raise ValidationFailed(f"LabelAttributeName {name!r} must not end with {ending!r} for this task type")
    if refers and not name.endswith("-ref"):
        raise ValidationFailed(f"LabelAttributeName {name!r} must end with '-ref' for this task type")


def _check_workteam(team: str, workteams: Set[str]) -> None:
    if ":workteam/public-crowd/" in team:
        raise ValidationFailed(f"The public workforce is no longer available: {team}")
    region = team.split(":")[3] if team.count(":") >= 5 else ""
    if region != REGION:
        raise ValidationFailed(f"Workteam {team} is not of the job's Region {REGION}")
    if team not in workteams:
        raise ValidationFailed(f"Workteam {team} does not exist.")
