"""What every refusal must be, wherever it is told."""

from __future__ import annotations

from autolabel.contracts.errors import MAX_MESSAGE, Refused


def assert_inert(message: str) -> None:
    """A message that may be logged, stored and shown anywhere."""
    assert message.isprintable()
    assert len(message) <= MAX_MESSAGE


def assert_refusal(refused: Refused, *reasons: str) -> None:
    """A refusal for one of the reasons, which says what it is about and harms nobody who reads it."""
    assert refused.reason in reasons
    assert str(refused)
    assert_inert(str(refused))
