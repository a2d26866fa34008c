"""What the stand-in can refuse, as SageMaker words it.

SageMakerError
├── ValidationFailed      the request breaks a rule (code ValidationException, or ValidationError on the runtime)
├── UnsupportedHere       SageMaker could, the stand-in cannot; the same code, so that nobody mistakes it for success
├── ResourceInUse         the name is taken
├── ResourceNotFound      no such resource, where SageMaker models that error
├── ResourceLimitExceeded a quota is used up
└── UnknownOperation      not an operation of SageMaker at all
"""

from __future__ import annotations


class SageMakerError(Exception):
    """A refusal with SageMaker's error code, its message and the HTTP status it travels with."""

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
    """SageMaker knows this, the stand-in does not implement it."""

    def __init__(self, what: str, *, code: str = "ValidationException") -> None:
        super().__init__(code, f"Not supported by the embedded cloud: {what}")


class ResourceInUse(SageMakerError):
    """The name is taken."""

    def __init__(self, message: str) -> None:
        super().__init__("ResourceInUse", message)


class ResourceNotFound(SageMakerError):
    """There is no such resource."""

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
