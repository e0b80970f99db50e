"""Exceptions that programs name and that no operator on a processor raises."""


class OutOfMemoryError(RuntimeError):
    """A device ran out of memory. On the CPU, allocations that fail raise `RuntimeError` or `MemoryError`."""


class AcceleratorError(RuntimeError):
    """An accelerator reported an error."""


OutOfMemoryError.__module__ = AcceleratorError.__module__ = "torch"
