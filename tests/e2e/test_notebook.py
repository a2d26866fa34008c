"""The notebook of the examples, run from its first cell to its last in the deployed pipeline's cloud."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from autolabel_cli.models.catalogue import read_index
from tests.e2e.pipeline import Pipeline
from tools.demo.deployment import PROJECT

NOTEBOOK = PROJECT / "examples" / "auto_label.ipynb"
EXECUTE = PROJECT / ".venv-notebook" / "bin" / "jupyter-execute"


@pytest.mark.skipif(not EXECUTE.exists(), reason="a kernel for the notebook is not installed: make setup-notebook")
def test_the_notebook_labels_a_drive_and_leaves_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    copy = tmp_path / NOTEBOOK.name
    copy.write_bytes(NOTEBOOK.read_bytes())
    ended = subprocess.run(
        [EXECUTE, "--timeout=120", "--inplace", copy],
        env=pipeline.cloud.environment(),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    outputs = [one for cell in json.loads(copy.read_text())["cells"] for one in cell.get("outputs", [])]
    assert sum("image/png" in one.get("data", {}) for one in outputs) == 3
    printed = "".join(line for one in outputs for line in one.get("text", []))
    assert "24 answers" in printed
    assert "24 frames, labelled by" in printed
    assert "notebook" not in read_index(pipeline.stack).models
    endpoints = pipeline.cloud.client("sagemaker").list_endpoints(NameContains="notebook")["Endpoints"]
    assert [one for one in endpoints if one["EndpointStatus"] != "Deleting"] == []
    assert list(pipeline.stack.ingest.list("drives/notebook-")) == []
