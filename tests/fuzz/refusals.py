"""Checks that hold for every refusal."""

from __future__ import annotations

from autolabel.contracts.errors import MAX_MESSAGE, Refused


def assert_inert(message: str) -> None:
    """Check that a message can be logged, stored and shown anywhere."""
    assert message.isprintable()
    assert len(message) <= MAX_MESSAGE


def assert_refusal(refused: Refused, *reasons: str) -> None:
    """Check that a refusal has one of the reasons and a message that does no harm."""
    assert refused.reason in reasons
    assert str(refused)
    assert_inert(str(refused))
