"""Models of JumpStart and of hubs, resolved by the real SageMaker SDK from a manifest on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autolabel_cli.errors import CommandError
from autolabel_cli.models.sources import JumpStart, Source, image_source, usual_decoder

SDK = Path(__file__).resolve().parents[2] / ".venv-sagemaker" / "bin" / "python"
REGION = "us-east-1"
DETECTOR = "pytorch-od-nvidia-ssd"
with_sdk = pytest.mark.skipif(not SDK.exists(), reason="the SageMaker SDK is not installed: `make setup-sagemaker`")


def specification(model: str, version: str, **more: Any) -> dict[str, Any]:
    """A specification as JumpStart writes them, with what the SDK reads."""
    return {
        "model_id": model,
        "url": "https://example.invalid/about",
        "version": version,
        "min_sdk_version": "2.0.0",
        "training_supported": False,
        "incremental_training_supported": False,
        "hosting_ecr_specs": {"framework": "pytorch", "framework_version": "2.6.0", "py_version": "py312"},
        "hosting_artifact_key": f"{model}/v{version}/infer-{model}.tar.gz",
        "hosting_script_key": f"source-directory-tarballs/{model}/v{version}/sourcedir.tar.gz",
        "hosting_prepacked_artifact_key": f"{model}/v{version}/infer-prepack-{model}.tar.gz",
        "inference_environment_variables": [
            {"name": "SAGEMAKER_PROGRAM", "type": "text", "default": "inference.py", "scope": "container"},
            {"name": "TS_MAX_RESPONSE_SIZE", "type": "text", "default": "20000000", "scope": "container"},
        ],
        "default_inference_instance_type": "ml.g4dn.xlarge",
        "supported_inference_instance_types": ["ml.g4dn.xlarge"],
        "hosting_instance_type_variants": {
            "regional_aliases": {
                REGION: {"gpu_ecr_uri_1": f"763104351884.dkr.ecr.{REGION}.amazonaws.com/pytorch-inference:2.6.0-gpu"}
            },
            "variants": {"g4dn": {"regional_properties": {"image_uri": "$gpu_ecr_uri_1"}}},
        },
        **more,
    }


SPECIFICATIONS = [
    specification(DETECTOR, "1.0.0", deprecated=True, deprecated_message="Its script is too old."),
    specification(DETECTOR, "1.1.0"),
    specification("pytorch-od-old", "1.0.0", deprecated=True, deprecated_message="Nobody keeps it."),
    specification("pytorch-od-torn", "1.0.0", inference_vulnerable=True, inference_vulnerabilities=["CVE-2025-1"]),
    specification("pytorch-od-gated", "1.0.0", gated_bucket=True, hosting_eula_key="licences/gated.txt"),
    specification("pytorch-od-script", "1.0.0", hosting_prepacked_artifact_key=None, hosting_use_script_uri=True),
    specification("pytorch-od-loose", "1.0.0", hosting_prepacked_artifact_key="loose/v1.0.0/infer-prepack/"),
    specification("mxnet-is-mask-rcnn-fpn", "1.2.1"),
]


@pytest.fixture
def jumpstart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest and specifications that the SDK reads in place of JumpStart's bucket."""
    manifest = []
    for spec in SPECIFICATIONS:
        key = f"specs/{spec['model_id']}/specs_v{spec['version']}.json"
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_text(json.dumps(spec))
        manifest.append(
            {"model_id": spec["model_id"], "version": spec["version"], "min_version": "2.0.0", "spec_key": key}
        )
    (tmp_path / "models_manifest.json").write_text(json.dumps(manifest))
    for name in ("MANIFEST", "SPECS"):
        monkeypatch.setenv(f"AWS_JUMPSTART_{name}_LOCAL_ROOT_DIR_OVERRIDE", str(tmp_path))
    credentials(monkeypatch)


def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def resolve(model: str, **more: Any) -> Source:
    return JumpStart(model, **more).resolve(REGION, "", {})


def refusal(model: str, **more: Any) -> str:
    with pytest.raises(CommandError) as refused:
        resolve(model, **more)
    assert "\n" not in refused.value.message
    return refused.value.message


@with_sdk
def test_a_jumpstart_id_becomes_image_artefact_and_environment(jumpstart: None) -> None:
    found = resolve(DETECTOR)
    assert found.image == "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-gpu"
    assert found.model_data == (
        "s3://jumpstart-cache-prod-us-east-1/pytorch-od-nvidia-ssd/v1.1.0/infer-prepack-pytorch-od-nvidia-ssd.tar.gz"
    )
    assert found.script == ""
    assert found.instance_type == "ml.g4dn.xlarge"
    assert found.environment["TS_MAX_RESPONSE_SIZE"] == "20000000"
    assert found.environment["SAGEMAKER_PROGRAM"] == "inference.py"
    assert found.notes == ("pytorch-od-nvidia-ssd is version 1.1.0",)


@with_sdk
def test_a_model_that_is_not_prepacked_brings_its_script(jumpstart: None) -> None:
    found = resolve("pytorch-od-script")
    assert found.model_data.endswith("/infer-pytorch-od-script.tar.gz")
    assert found.script == (
        "s3://jumpstart-cache-prod-us-east-1/source-directory-tarballs/pytorch-od-script/v1.0.0/sourcedir.tar.gz"
    )


@with_sdk
def test_a_deprecated_version_is_refused_naming_one_that_is_not(jumpstart: None) -> None:
    said = refusal(DETECTOR, version="1.0.0")
    assert "deprecated in version 1.0.0 (Its script is too old)" in said
    assert "take --version 1.1.0" in said
    assert resolve(DETECTOR, version="1.0.0", tolerate_deprecated=True).model_data.count("v1.0.0") == 1


@with_sdk
def test_a_model_all_of_whose_versions_are_deprecated_is_refused(jumpstart: None) -> None:
    assert "take another model, or give --tolerate-deprecated" in refusal("pytorch-od-old")


@with_sdk
def test_a_vulnerable_version_is_refused_unless_tolerated(jumpstart: None) -> None:
    assert "CVE-2025-1" in refusal("pytorch-od-torn")
    assert resolve("pytorch-od-torn", tolerate_vulnerable=True).model_data


@with_sdk
def test_a_gated_model_wants_its_licence_accepted(jumpstart: None) -> None:
    assert "licences/gated.txt" in refusal("pytorch-od-gated")
    accepted = resolve("pytorch-od-gated", accept_eula=True)
    assert accepted.model_data.startswith("s3://jumpstart-private-cache-prod-us-east-1/")


@with_sdk
def test_an_unknown_id_is_refused_with_near_ones(jumpstart: None) -> None:
    said = refusal("pytorch-od-nvidia-sdd")
    assert "did you mean pytorch-od-nvidia-ssd" in said


@with_sdk
def test_an_unknown_version_is_refused_with_those_there_are(jumpstart: None) -> None:
    said = refusal(DETECTOR, version="7.0.0")
    assert "has no version 7.0.0 in us-east-1; it has 1.0.0, 1.1.0" in said


@with_sdk
def test_an_uncompressed_artefact_is_refused(jumpstart: None) -> None:
    assert "uncompressed" in refusal("pytorch-od-loose")


@with_sdk
def test_mxnet_is_named_as_legacy(jumpstart: None) -> None:
    assert any("legacy" in note for note in resolve("mxnet-is-mask-rcnn-fpn").notes)


class Hub(BaseHTTPRequestHandler):
    """Answers DescribeHubContent: one private hub with one Model."""

    asked: list[tuple[str, str]]

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind, name = request["HubContentType"], request["HubContentName"]
        self.asked.append((kind, name))
        if (kind, name) != ("Model", "street-detector"):
            self._reply(400, {"__type": "ResourceNotFound", "message": f"{kind} {name} does not exist"})
            return
        document = {
            "ModelTypes": ["OPEN_WEIGHTS"],
            "Url": "https://example.invalid/about",
            "TrainingSupported": False,
            "IncrementalTrainingSupported": False,
            "Capabilities": [],
            "HostingEcrUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/street:3",
            "HostingArtifactUri": "s3://ours/street/model.tar.gz",
            "InferenceEnvironmentVariables": [
                {"Name": "HALF", "Type": "text", "Default": "1", "Scope": "container", "RequiredForModelClass": True}
            ],
            "DefaultInferenceInstanceType": "ml.g5.xlarge",
        }
        self._reply(
            200,
            {
                "HubContentName": name,
                "HubContentArn": f"arn:aws:sagemaker:us-east-1:000000000000:hub-content/h/{kind}/{name}/2.0.0",
                "HubContentVersion": "2.0.0",
                "HubContentType": kind,
                "DocumentSchemaVersion": "2.4.0",
                "HubName": request["HubName"],
                "HubArn": "arn:aws:sagemaker:us-east-1:000000000000:hub/h",
                "HubContentDocument": json.dumps(document),
                "HubContentStatus": "Available",
                "CreationTime": 1_700_000_000,
            },
        )

    def _reply(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Tests have their own words."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What a hub was asked for, as (content type, name)."""
    credentials(monkeypatch)
    Hub.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", f"http://127.0.0.1:{server.server_port}")
        yield Hub.asked
        server.shutdown()


@with_sdk
def test_a_hub_is_asked_for_a_reference_and_then_for_a_model(hub: list[tuple[str, str]]) -> None:
    found = resolve("street-detector", hub="h")
    assert hub == [("ModelReference", "street-detector"), ("Model", "street-detector")]
    assert (found.image, found.model_data) == (
        "000000000000.dkr.ecr.us-east-1.amazonaws.com/street:3",
        "s3://ours/street/model.tar.gz",
    )
    assert (found.environment, found.instance_type) == ({"HALF": "1"}, "ml.g5.xlarge")


@with_sdk
def test_what_a_hub_does_not_have_is_refused(hub: list[tuple[str, str]]) -> None:
    said = refusal("street-detectr", hub="h")
    assert "hub h has no model 'street-detectr'" in said


def test_without_the_sdk_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOLABEL_SAGEMAKER", str(tmp_path / "python"))
    assert "make setup-sagemaker" in refusal(DETECTOR)


def test_what_breaks_in_the_sdk_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'ImportError: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("AUTOLABEL_SAGEMAKER", str(broken))
    assert "ImportError: no such thing" in refusal(DETECTOR)


@pytest.mark.parametrize(
    ("model", "decoder"),
    [
        ("mxnet-is-mask-rcnn-fpn-resnet101-v1d-coco", "jumpstart-mask-rcnn"),
        ("pytorch-od-nvidia-ssd", "jumpstart-detection"),
        ("pytorch-od1-fasterrcnn-resnet50-fpn", "jumpstart-detection"),
        ("tensorflow-od1-ssd-resnet50-v1-fpn-640x640-coco17-tpu-8", "jumpstart-detection"),
        ("mxnet-od-ssd-512-resnet50-v1-coco", "jumpstart-detection"),
        ("pytorch-ic-mobilenet-v2", None),
    ],
)
def test_jumpstarts_names_suggest_decoders(model: str, decoder: str | None) -> None:
    assert usual_decoder(model) == decoder


@pytest.mark.parametrize(
    ("image", "model_data", "said"),
    [
        ("street:3", None, "is not an image URI"),
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com/street:3", "s3://ours/weights.bin", "give s3://"),
        ("000000000000.dkr.ecr.us-east-1.amazonaws.com/street:3", "/home/weights.tar.gz", "give s3://"),
    ],
)
def test_an_image_or_artefact_that_cannot_be_one_is_refused(image: str, model_data: str | None, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        image_source(image, model_data, None, {}, "")


def test_a_source_folder_without_its_script_is_refused(tmp_path: Path) -> None:
    image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/street:3"
    with pytest.raises(CommandError, match=r"has no inference\.py: name another script with --env SAGEMAKER_PROGRAM"):
        image_source(image, None, tmp_path, {}, "")
    (tmp_path / "serve.py").write_text("")
    found = image_source(image, None, tmp_path, {"SAGEMAKER_PROGRAM": "serve.py"}, "")
    assert found.environment["SAGEMAKER_SUBMIT_DIRECTORY"] == "/opt/ml/model/code"
