"""Errors of a compiler that is not there; programs name them in ``except`` clauses."""


class TorchDynamoException(RuntimeError):
    """Never raised here."""


class Unsupported(TorchDynamoException):
    """Never raised here."""


class UserError(Unsupported):
    """Never raised here."""


class InternalTorchDynamoError(TorchDynamoException):
    """Never raised here."""


class BackendCompilerFailed(TorchDynamoException):
    """Never raised here."""


class FailOnRecompileLimitHit(Exception):
    """Never raised here."""
