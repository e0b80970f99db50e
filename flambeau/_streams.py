"""Streams and events of the processor, whose operators have finished when they return."""

from __future__ import annotations

from . import _C


class Stream:
    """An order of work. The processor has one, the program's own, and nothing in it is ever waited for.

    Args:
        device: the CPU; other devices are not there.
    """

    def __init__(self, device=None, *, priority: int = 0):
        self.device = _C.device("cpu" if device is None else device)
        if self.device.type != "cpu":
            raise RuntimeError(
                f"torch.Stream: there is no device of kind '{self.device.type}'; flambeau runs on the CPU"
            )
        self.stream_id, self.device_index, self.device_type = 0, -1, 0

    def query(self) -> bool:
        """Whether all work has finished: always."""
        return True

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def wait_stream(self, stream) -> None:
        """Nothing to wait for."""

    def wait_event(self, event) -> None:
        """Nothing to wait for."""

    def record_event(self, event=None):
        """As in PyTorch, the processor has no events."""
        return Event().record(self)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def __eq__(self, other):
        return isinstance(other, Stream)

    def __hash__(self):
        return hash(Stream)

    def __repr__(self):
        return "torch.Stream device_type=cpu, device_index=-1, stream_id=0"


class Event:
    """A point in a stream. It can be made for the processor, which has no use for it: `record` raises."""

    def __init__(self, device=None, *, enable_timing=False, blocking=False, interprocess=False):
        self.device = _C.device("cpu" if device is None else device)
        self.event_id = 0

    def record(self, stream=None):
        """Raises: the processor has no events."""
        raise RuntimeError("cpu backend doesn't support events.")

    wait = synchronize = record

    def query(self) -> bool:
        """Whether all work before the event has finished: always."""
        return True

    def __repr__(self):
        return "torch.Event device_type=cpu, device_index=-1, event_flag=0, event_id=0"


def get_device_module(device=None):
    """The module that speaks for a kind of device: `flambeau.cpu`, `flambeau.cuda` ...

    Args:
        device: a device or its name; None means the machine's accelerator, or the CPU where there is none.
    """
    import importlib

    kind = "cpu" if device is None else _C.device(device).type
    try:
        return importlib.import_module("flambeau." + kind)
    except ModuleNotFoundError:
        raise RuntimeError(
            f"Invalid device module '{device}': flambeau has none for devices of kind '{kind}'"
        ) from None
