"""Errors that the stand-in returns, in SageMaker's words.

SageMakerError
├── ValidationFailed      the request breaks a rule (code ValidationException, or ValidationError on the runtime)
├── UnsupportedHere       SageMaker can do it, the stand-in cannot; the same code, so that it never looks like success
├── ResourceInUse         the name is taken
├── ResourceNotFound      the resource does not exist, where SageMaker's model has that error
├── ResourceLimitExceeded a quota is used up
└── UnknownOperation      SageMaker has no such operation
"""

from __future__ import annotations


class SageMakerError(Exception):
    """An error with SageMaker's code, message and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class ValidationFailed(SageMakerError):
    """The request breaks a rule that SageMaker states."""

    def __init__(self, message: str, *, code: str = "ValidationException") -> None:
        super().__init__(code, message)


class UnsupportedHere(SageMakerError):
    """SageMaker can do this, the stand-in cannot."""

    def __init__(self, what: str, *, code: str = "ValidationException") -> None:
        super().__init__(code, f"Not supported by the embedded cloud: {what}")


class ResourceInUse(SageMakerError):
    """The name is taken."""

    def __init__(self, message: str) -> None:
        super().__init__("ResourceInUse", message)


class ResourceNotFound(SageMakerError):
    """The resource does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__("ResourceNotFound", message)


class ResourceLimitExceeded(SageMakerError):
    """A quota is used up."""

    def __init__(self, message: str) -> None:
        super().__init__("ResourceLimitExceeded", message)


class UnknownOperation(SageMakerError):
    """The service model has no such operation."""

    def __init__(self, operation: str) -> None:
        super().__init__("UnknownOperationException", f"Unknown operation: {operation}")
