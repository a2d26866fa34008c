"""Script that asks the SageMaker SDK for a JumpStart id or the content of a hub.

It runs in a process and, in a checkout, an environment of its own (`make setup-sagemaker`), because the SDK's
requirements differ from the command's. It reads a request as JSON from standard input, and writes one JSON object to
standard output: `{"found": {...}}` or `{"refused": "<sentence>"}`.
"""

from __future__ import annotations

import difflib
import json
import sys
from contextlib import redirect_stdout
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from packaging.version import InvalidVersion, Version
from sagemaker.core import environment_variables, image_uris, instance_types, model_uris, script_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.jumpstart.accessors import JumpStartModelsAccessor
from sagemaker.core.jumpstart.configs import JumpStartConfig
from sagemaker.core.jumpstart.document import get_hub_content_and_document
from sagemaker.core.jumpstart.exceptions import DeprecatedJumpStartModelError, VulnerableJumpStartModelError
from sagemaker.core.jumpstart.utils import verify_model_region_and_return_specs

# Number of latest versions among which one that is not deprecated is searched.
_VERSIONS_TRIED = 10


class LookupRefused(Exception):
    """The request cannot be fulfilled. The message says what to do."""


def resolve_jumpstart(request: dict[str, Any]) -> dict[str, Any]:
    """Find image, artefact, script and environment of a JumpStart id. Raises LookupRefused."""
    region, name = request["region"], request["id"]
    session = Session(boto3.Session(region_name=region))
    asked: dict[str, Any] = {
        "region": region,
        "model_id": name,
        "sagemaker_session": session,
        "tolerate_deprecated_model": request["tolerate_deprecated"],
        "tolerate_vulnerable_model": request["tolerate_vulnerable"],
    }
    # `*` is the highest version that the SDK can read.
    version = request["version"] or "*"
    specs = _specs(asked, version)
    if specs.is_gated_model() and not request["accept_eula"]:
        raise LookupRefused(
            f"JumpStart model {name} has a licence that you must accept: read it "
            f"({specs.hosting_eula_key or specs.url}) and give --accept-eula"
        )
    versioned = {**asked, "model_version": specs.version}
    instance_type = request["instance_type"] or instance_types.retrieve_default(**versioned, scope="inference")
    on_instance = {**versioned, "instance_type": instance_type}
    needs_script = specs.use_inference_script_uri()
    return {
        "image": image_uris.retrieve(framework=None, image_scope="inference", **on_instance),
        "model_data": model_uris.retrieve(model_scope="inference", **on_instance),
        "script": script_uris.retrieve(script_scope="inference", **versioned) if needs_script else "",
        "environment": environment_variables.retrieve_default(**on_instance, include_aws_sdk_env_vars=True),
        "instance_type": instance_type,
        "version": specs.version,
        "notes": [specs.deprecate_warn_message] if specs.deprecate_warn_message else [],
    }


def _specs(asked: dict[str, Any], version: str) -> Any:
    name = asked["model_id"]
    try:
        return verify_model_region_and_return_specs(version=version, scope="inference", **asked)
    except DeprecatedJumpStartModelError as e:
        better = _version_not_deprecated(asked)
        instead = f"take --version {better}, " if better else "take another model, "
        raise LookupRefused(
            f"JumpStart model {name} is deprecated{_of(version)} ({_sentence(e)}): "
            f"{instead}or give --tolerate-deprecated"
        ) from e
    except VulnerableJumpStartModelError as e:
        raise LookupRefused(
            f"JumpStart model {name} has known vulnerabilities{_of(version)} ({_sentence(e)}): "
            "take another version or give --tolerate-vulnerable"
        ) from e
    except KeyError as e:
        raise LookupRefused(_unknown(asked, version)) from e


def _unknown(asked: dict[str, Any], version: str) -> str:
    name, region = asked["model_id"], asked["region"]
    headers = JumpStartModelsAccessor._get_manifest(region=region, s3_client=asked["sagemaker_session"].s3_client)
    versions = _sorted_versions(header.version for header in headers if header.model_id == name)
    if versions:
        return f"JumpStart model {name} has no version {version} in {region}; it has {', '.join(versions)}"
    near = difflib.get_close_matches(name, sorted({header.model_id for header in headers}), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"JumpStart has no model {name!r} in {region}{hint}"


def _version_not_deprecated(asked: dict[str, Any]) -> str:
    """Return the highest version that is not deprecated, or "" when all of the latest are."""
    client, region, name = asked["sagemaker_session"].s3_client, asked["region"], asked["model_id"]
    headers = JumpStartModelsAccessor._get_manifest(region=region, s3_client=client)
    versions = _sorted_versions(header.version for header in headers if header.model_id == name)
    for version in versions[: -_VERSIONS_TRIED - 1 : -1]:
        specs = JumpStartModelsAccessor.get_model_specs(region, name, version, s3_client=client)
        if not specs.deprecated:
            return version
    return ""


def _sorted_versions(versions: Any) -> list[str]:
    def order(version: str) -> Version:
        try:
            return Version(version)
        except InvalidVersion:
            return Version("0")

    return sorted(set(versions), key=order)


def _of(version: str) -> str:
    return "" if version == "*" else f" in version {version}"


def resolve_hub(request: dict[str, Any]) -> dict[str, Any]:
    """Find image, artefact, script and environment of a hub's ModelReference, or else Model. Raises LookupRefused."""
    hub, name = request["hub"], request["id"]
    config = JumpStartConfig(model_id=name, hub_name=hub, model_version=request["version"] or None)
    try:
        content, document = get_hub_content_and_document(
            config, sagemaker_session=Session(boto3.Session(region_name=request["region"]))
        )
    except ClientError as e:
        if e.response["Error"]["Code"] != "ResourceNotFound":
            raise
        raise LookupRefused(
            f"hub {hub} has no model {name!r}{_of(request['version'] or '*')}: {_sentence(e)}; "
            f"aws sagemaker list-hub-contents --hub-name {hub} --hub-content-type Model lists what it has"
        ) from e
    support = getattr(content, "support_status", None)
    if support in ("Deprecated", "Restricted") and not request["tolerate_deprecated"]:
        raise LookupRefused(
            f"{name} of hub {hub} is {support.lower()}: take another version or give --tolerate-deprecated"
        )
    licence = document.HostingEulaUri or document.HostingEulaExternalLink
    if (document.GatedBucket or licence) and not request["accept_eula"]:
        raise LookupRefused(
            f"{name} of hub {hub} has a licence that you must accept: read it ({licence or document.Url}) "
            "and give --accept-eula"
        )
    variables = document.InferenceEnvironmentVariables or []
    if not document.HostingEcrUri or not document.HostingArtifactUri:
        raise LookupRefused(
            f"{name} of hub {hub} names no image or no artefact: deploy it with --image and --model-data instead"
        )
    return {
        "image": document.HostingEcrUri,
        "model_data": document.HostingArtifactUri,
        "script": document.HostingScriptUri if document.HostingUseScriptUri and document.HostingScriptUri else "",
        "environment": {v.Name: str(v.Default) for v in variables if v.Default is not None},
        "instance_type": request["instance_type"] or document.DefaultInferenceInstanceType or "",
        "version": content.hub_content_version,
        "notes": [],
    }


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def main() -> None:
    request = json.load(sys.stdin)
    resolve = resolve_hub if request["hub"] else resolve_jumpstart
    # The SDK prints and logs to standard output as well.
    with redirect_stdout(sys.stderr):
        try:
            answer: dict[str, Any] = {"found": resolve(request)}
        except LookupRefused as e:
            answer = {"refused": str(e)}
        except (BotoCoreError, ClientError, ValueError, RuntimeError, OSError) as e:
            # For other errors of the SDK, its message is all that is known.
            answer = {"refused": f"the SageMaker SDK reports: {_sentence(e)}"}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
