"""Sources of models: an image with its artefact, a JumpStart id, or the content of a hub."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from autolabel_cli.errors import CommandError
from autolabel_cli.installation import SAGEMAKER

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*/\S+\Z")
# Long enough for the SDK to fetch a manifest of megabytes and some specifications.
_SDK_SECONDS = 300
_MXNET = (
    "{} is a legacy MXNet model: the SageMaker SDK 3 does not support MXNet, and the last inference image is 1.9.0; "
    "plan for another model"
)


@dataclass(frozen=True)
class Source:
    """Parts that a model is deployed from.

    `model_data` and `script` are S3 URIs of `.tar.gz` files, or empty. `source_dir` is a folder with `inference.py`,
    in place of `script`. `notes` are for the user who adds the model.
    """

    image: str
    model_data: str = ""
    script: str = ""
    source_dir: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    instance_type: str = ""
    notes: tuple[str, ...] = ()


class _Found(msgspec.Struct):
    image: str
    model_data: str
    script: str
    environment: dict[str, str]
    instance_type: str
    version: str
    notes: list[str]


class _Answer(msgspec.Struct):
    found: _Found | None = None
    refused: str = ""


@dataclass(frozen=True)
class JumpStart:
    """Model of JumpStart by its id, or of a private hub by the name of its content. Empty `version`: the latest."""

    id: str
    hub: str = ""
    version: str = ""
    tolerate_deprecated: bool = False
    tolerate_vulnerable: bool = False
    accept_eula: bool = False

    def resolve(self, region: str, instance_type: str, environment: Mapping[str, str]) -> Source:
        """Ask the SageMaker SDK. CommandError when it refuses the model or is not installed.

        `instance_type`: empty for the model's default. `environment` overrides the model's own variables.
        """
        request = {
            "id": self.id,
            "hub": self.hub,
            "version": self.version,
            "tolerate_deprecated": self.tolerate_deprecated,
            "tolerate_vulnerable": self.tolerate_vulnerable,
            "accept_eula": self.accept_eula,
            "region": region,
            "instance_type": instance_type,
        }
        found = _ask_sdk(request)
        for uri in (found.model_data, found.script):
            if uri and not uri.endswith(".tar.gz"):
                raise CommandError(
                    f"{self.id} has an uncompressed artefact under {uri}, which this command cannot deploy: "
                    "pack it as a .tar.gz file and give --image and --model-data"
                )
        legacy = (_MXNET.format(self.id),) if self.id.startswith("mxnet-") or "mxnet" in found.image else ()
        return Source(
            image=found.image,
            model_data=found.model_data,
            script=found.script,
            environment={**found.environment, **environment},
            instance_type=found.instance_type,
            notes=(f"{self.id} is version {found.version}", *legacy, *found.notes),
        )


def usual_decoder(jumpstart_id: str) -> str | None:
    """Return the decoder that the name of a JumpStart id suggests, or None."""
    if jumpstart_id.startswith("mxnet-is-"):
        return "jumpstart-mask-rcnn"
    if re.match(r"(mxnet|pytorch|tensorflow)-od\d?-", jumpstart_id):
        return "jumpstart-detection"
    if jumpstart_id.startswith("huggingface-od"):
        return "hf-object-detection"
    return None


def image_source(
    image: str, model_data: str | None, source_dir: Path | None, environment: Mapping[str, str], instance_type: str
) -> Source:
    """Make a source from a container image and its options. CommandError for an option that cannot be right."""
    if not _IMAGE.match(image):
        raise CommandError(
            f"--image {image!r} is not an image URI: give one such as "
            "<account>.dkr.ecr.<region>.amazonaws.com/<name>:<tag>"
        )
    if model_data and not re.match(r"s3://[^/]+/.+\.tar\.gz\Z", model_data):
        raise CommandError(f"--model-data {model_data!r} is not an S3 URI: give s3://<bucket>/<key>.tar.gz")
    if source_dir:
        program = environment.get("SAGEMAKER_PROGRAM", "inference.py")
        if not (source_dir / program).is_file():
            raise CommandError(
                f"--source-dir {source_dir} has no {program}: name another script with --env SAGEMAKER_PROGRAM=<file>"
            )
        defaults = {"SAGEMAKER_PROGRAM": program, "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
        environment = {**defaults, **environment}
    return Source(image, model_data or "", "", source_dir, environment, instance_type)


def _ask_sdk(request: Mapping[str, object]) -> _Found:
    python = SAGEMAKER.python()
    try:
        ended = subprocess.run(
            [*python, Path(__file__).with_name("sagemaker_sdk.py")],
            input=msgspec.json.encode(request),
            capture_output=True,
            timeout=_SDK_SECONDS,
            check=False,
        )
        answer = msgspec.json.decode(ended.stdout, type=_Answer)
    except subprocess.TimeoutExpired as e:
        raise CommandError(f"the SageMaker SDK did not answer within {_SDK_SECONDS} s: try again") from e
    except msgspec.DecodeError as e:
        last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise CommandError(f"the SageMaker SDK of {python[0]} failed: {last[0]}") from e
    if answer.found is None:
        raise CommandError(answer.refused)
    return answer.found
