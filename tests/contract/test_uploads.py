"""What `autolabel upload` writes into the ingest bucket."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner

from autolabel.contracts.drive import parse_drive_document
from autolabel.contracts.verification import VerifyAll, VerifyUncertain
from autolabel_cli.__main__ import main
from autolabel_cli.stack import Stack
from tests.contract.conftest import create_bucket
from tests.fakes.images import png


@pytest.fixture
def stack(aws: None, monkeypatch: pytest.MonkeyPatch) -> Stack:
    s3 = create_bucket("ingest", boto3.client("s3"))
    stack = Stack("autolabel", {"IngestBucketName": "ingest"}, {}, lambda _: s3)
    monkeypatch.setattr(Stack, "find", lambda _: stack)
    return stack


@pytest.mark.parametrize(
    ("options", "policy"), [((), VerifyAll()), (("--policy", "doubtful"), VerifyUncertain())], ids=["none", "doubtful"]
)
def test_a_drive_is_closed_under_the_policy_that_was_asked_for(
    stack: Stack, tmp_path: Path, options: tuple[str, ...], policy: object
) -> None:
    (tmp_path / "1795387974766619850.png").write_bytes(png())
    done = CliRunner().invoke(main, ["upload", str(tmp_path), "--drive", "d1", *options])
    assert done.exit_code == 0, done.output
    body = stack.ingest.read("drives/d1/drive.json")
    assert body is not None
    assert parse_drive_document(body, "drives/d1/drive.json").verification == policy
