"""What goes wrong between processes."""

__all__ = ["DistBackendError", "DistError", "DistNetworkError", "DistStoreError", "QueueEmptyError"]


class DistError(RuntimeError):
    """The base of the errors of this package."""


class DistBackendError(DistError):
    """A collective operation failed."""


class DistNetworkError(DistError):
    """A connection could not be made, or was lost."""


class DistStoreError(DistError):
    """A store could not answer, or not in time."""


class QueueEmptyError(DistStoreError):
    """A store's queue had nothing to pop."""
