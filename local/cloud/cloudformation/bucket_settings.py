"""Apply settings of S3 buckets that ministack's resource type ignores."""

from __future__ import annotations

from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer

from local.cloud import symbols
from local.cloud.cloudformation.coercion import coerce, input_shape

_LIFECYCLE = {"Id", "Status", "Prefix", "ExpirationInDays", "ExpiredObjectDeleteMarker"} | {
    "NoncurrentVersionExpiration",
    "AbortIncompleteMultipartUpload",
    "Transitions",
}


def install_bucket_settings() -> None:
    """Add encryption, lifecycle, ownership and access logs to the settings that a bucket resource applies.

    Access logs are a setting only: none are written.
    """
    module = "services.cloudformation.provisioners"
    known = symbols.find(module, "_S3_BUCKET_CONFIGURATIONS")
    added = (
        ("BucketEncryption", _encryption, "PutBucketEncryption", "_put_bucket_encryption"),
        ("LifecycleConfiguration", _lifecycle, "PutBucketLifecycleConfiguration", "_put_bucket_lifecycle"),
        ("OwnershipControls", dict, "PutBucketOwnershipControls", "_put_bucket_ownership_controls"),
        ("LoggingConfiguration", _access_logs, "PutBucketLogging", "_put_bucket_logging"),
    )
    entries = [
        (name, _to_xml(operation, translate), _checked(name, symbols.find("services.s3", put)), _keep)
        for name, translate, operation, put in added
    ]
    symbols.replace(module, "_S3_BUCKET_CONFIGURATIONS", (*known, *entries))


def _to_xml(operation: str, translate: Any) -> Any:
    model = ServiceModel(Loader().load_service_model("s3", "service-2"), "s3").operation_model(operation)
    member = input_shape("s3", operation).serialization["payload"]

    def to_xml(value: dict[str, Any]) -> bytes:
        request = coerce({"Bucket": "b", member: translate(value)}, input_shape("s3", operation))
        serializer = create_serializer(model.metadata["protocol"])
        return bytes(serializer.serialize_to_request(request, model)["body"])

    return to_xml


def _checked(name: str, put: Any) -> Any:
    def checked(bucket: str, body: bytes) -> None:
        status, _, answer = put(bucket, body)
        if status >= 400:
            raise ValueError(f"AWS::S3::Bucket {name}: {answer!r}")

    return checked


def _keep(bucket: str) -> None:
    """Refuse to remove a setting: it would stay, unlike in CloudFormation."""
    raise ValueError(f"{bucket}: removing this bucket setting is not supported by the embedded cloud")


def _encryption(value: dict[str, Any]) -> dict[str, Any]:
    return {
        "Rules": [
            {
                ("ApplyServerSideEncryptionByDefault" if key == "ServerSideEncryptionByDefault" else key): item
                for key, item in rule.items()
            }
            for rule in value["ServerSideEncryptionConfiguration"]
        ]
    }


# `Any`: a property of a template, and the request that it becomes.
def _access_logs(value: dict[str, Any]) -> dict[str, Any]:
    delivery = {"TargetBucket": value["DestinationBucketName"], "TargetPrefix": value.get("LogFilePrefix", "")}
    return {"LoggingEnabled": delivery}


def _lifecycle(value: dict[str, Any]) -> dict[str, Any]:
    return {"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}


def _lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(rule) - _LIFECYCLE):
        raise ValueError(f"AWS::S3::Bucket lifecycle: {', '.join(unknown)} not supported by the embedded cloud")
    translated: dict[str, Any] = {"Filter": {"Prefix": rule.get("Prefix", "")}, "Status": rule["Status"]}
    if "Id" in rule:
        translated["ID"] = rule["Id"]
    expiration = {
        name: rule[key]
        for key, name in (("ExpirationInDays", "Days"), ("ExpiredObjectDeleteMarker", "ExpiredObjectDeleteMarker"))
        if key in rule
    }
    if expiration:
        translated["Expiration"] = expiration
    if "Transitions" in rule:
        translated["Transitions"] = [
            {"Days": one["TransitionInDays"], "StorageClass": one["StorageClass"]} for one in rule["Transitions"]
        ]
    for key in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if key in rule:
            translated[key] = rule[key]
    return translated
