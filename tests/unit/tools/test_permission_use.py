"""`make permissions` finds permissions that no run has used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import permission_use
from tools.permission_use import Permission, problems, recorded

READ = Permission("PlanRole", "s3:GetObject", "arn:aws:s3:::labels/runs/*")
WRITE = Permission("PlanRole", "s3:PutObject", "arn:aws:s3:::labels/runs/*")


def record(folder: Path, run: str, **used: bool) -> Path:
    permissions = {"read": READ, "write": WRITE}
    path = folder / f"{run}.jsonl"
    path.write_text("\n".join(json.dumps({**permissions[n]._asdict(), "used": u}) for n, u in used.items()))
    return path


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(permission_use, "RECORDS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("resource", "request_", "covered"),
    [
        ("a/*", ("PlanRole", "s3:GetObject", "a/b/c"), True),
        ("a/*", ("PlanRole", "s3:getobject", "a/b"), True),
        ("a/${aws:PrincipalTag/vehicle}_*", ("PlanRole", "s3:GetObject", "a/golf_1"), True),
        ("a/*", ("PlanRole", "s3:GetObject", "b/a/"), False),
        ("a/*", ("PlanRole", "s3:GetObjectVersion", "a/b"), False),
        ("a/*", ("LabelRole", "s3:GetObject", "a/b"), False),
    ],
)
def test_a_permission_covers_requests_of_its_role(resource: str, request_: tuple[str, str, str], covered: bool) -> None:
    assert Permission("PlanRole", "s3:GetObject", resource).covers(Permission(*request_)) is covered


def test_one_run_that_used_a_permission_is_enough(records: Path) -> None:
    record(records, "first", read=True, write=False)
    record(records, "second", read=False, write=False)
    assert recorded() == {READ: True, WRITE: False}
    assert problems(recorded(), {}) == [f"unused: {WRITE}"]


def test_an_unused_permission_needs_a_reason_and_a_reason_a_permission() -> None:
    use = {READ: True, WRITE: False}
    assert problems(use, {"PlanRole s3:Put*": "why"}) == []
    assert problems(use, {"*": "why", "Other s3:*": "why"}) == ["a reason for no permission: Other s3:*"]
