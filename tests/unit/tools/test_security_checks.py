"""`make security` wants a reason for each finding, and a finding for each reason."""

from __future__ import annotations

from tools.security_checks import Finding, problems

VPC = Finding("CKV_AWS_117", "/template.yaml", "AWS::Serverless::Function.SubmitFunction")
SECRET = Finding("CKV_SECRET_6", "/events/one.json", "0a1b2c")


def test_a_finding_needs_a_reason_and_a_reason_a_finding() -> None:
    assert problems([VPC, SECRET], {"CKV_AWS_117 *Function": "why"}) == [
        "CKV_SECRET_6 /events/one.json (build/security)"
    ]
    reasons = {"CKV_AWS_117 SubmitFunction": "why", "CKV_SECRET_6 /events/*": "why", "CKV_AWS_18 *": "why"}
    assert problems([VPC, SECRET], reasons) == ["a reason for no finding: CKV_AWS_18 *"]
