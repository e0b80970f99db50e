"""How storages, and tensors with them, are pickled for another process of this program: as handles to shared memory.

`init_reductions` tells `ForkingPickler`, the pickler of multiprocessing's queues and pipes; ordinary pickles are not
concerned. A handle is a file descriptor or a name: see the note *Shared memory* in csrc/core/shared_memory.h.
"""

from __future__ import annotations

from multiprocessing import reduction
from multiprocessing.reduction import ForkingPickler

import flambeau
from flambeau import _C
from flambeau._tensor import pickling
from flambeau.storage import TypedStorage, UntypedStorage

__all__ = [
    "ForkingPickler",
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "init_reductions",
    "set_sharing_strategy",
]

_strategy = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The ways in which memory can be shared here."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy() -> str:
    """The way in which tensors that are sent from now on are shared."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose how tensors that are sent from now on are shared.

    Args:
        new_strategy: ``"file_descriptor"``, the default, needs an open descriptor per shared tensor; ``"file_system"``
            needs a file in /dev/shm instead, which Python's resource tracker removes if its processes die.
    """
    global _strategy
    if new_strategy not in get_all_sharing_strategies():
        raise AssertionError(
            f"set_sharing_strategy: expected one of {sorted(get_all_sharing_strategies())}, got {new_strategy!r}"
        )
    if new_strategy == "file_system":
        from multiprocessing import resource_tracker

        # Started before any child, so that one tracker serves them all.
        resource_tracker.ensure_running()
        _C._on_name_removed(lambda name: resource_tracker.unregister(name, "shared_memory"))
    _strategy = new_strategy


class _Descriptor:
    """A file descriptor on its way; `detach` gives the receiver one of its own."""

    def __init__(self, descriptor: int):
        self._inner = reduction.DupFd(descriptor)

    def detach(self) -> int:
        try:
            return self._inner.detach()
        except (FileNotFoundError, ConnectionError, EOFError) as error:
            raise type(error)(
                "a tensor cannot be received: the process that sent it has ended, and its memory with it. The sender has "
                "to live until its tensors have been received; send tensor.numpy() or bytes where it cannot"
            ) from error


def _receive_by_descriptor(sent, nbytes: int):
    return _C._storage_by_descriptor(sent.detach(), nbytes)


def _receive_by_name(name: str, nbytes: int):
    if _strategy != "file_system":
        set_sharing_strategy(
            "file_system"
        )  # whoever lets go last removes the name, and it may be this process
    return _C._storage_by_name(name, nbytes)


def reduce_storage(storage):
    """An untyped storage as a handle to shared memory, into which it is moved."""
    nbytes = storage.nbytes()
    if storage.device.type == "meta":
        return UntypedStorage, (nbytes, "meta")
    if nbytes == 0:
        return UntypedStorage, (0,)
    shared_by = _C._shared_by(storage)
    if shared_by == "name" or (shared_by != "descriptor" and _strategy == "file_system"):
        name = _C._share_by_name(storage)
        if shared_by != "name":
            from multiprocessing import resource_tracker

            resource_tracker.register(name, "shared_memory")
        return _receive_by_name, (name, nbytes)
    return _receive_by_descriptor, (_Descriptor(_C._share_by_descriptor(storage)), nbytes)


def _wrap(untyped, dtype):
    return TypedStorage(wrap_storage=untyped, dtype=dtype)


def reduce_typed_storage(storage):
    """A typed storage: its memory as a handle, and the dtype."""
    return _wrap, (storage.untyped(), storage.dtype)


def check_tensor(tensor) -> None:
    """Refuse a tensor that has a history: no other process could go on with it."""
    if tensor.requires_grad and not tensor.is_leaf:
        raise RuntimeError(
            "Cowardly refusing to serialize non-leaf tensor which requires_grad: its graph lives in this process only. "
            "Send tensor.detach() instead"
        )


def reduce_tensor(tensor):
    """A tensor as a window on shared memory."""
    check_tensor(tensor)
    return pickling.reduce_ex(tensor, 2) if type(tensor) is flambeau.Tensor else tensor.__reduce_ex__(2)


def init_reductions() -> None:
    """Teach `ForkingPickler` to send tensors as shared memory."""
    register = ForkingPickler.register
    register(flambeau.Tensor, reduce_tensor)
    register(flambeau.nn.Parameter, reduce_tensor)
    register(UntypedStorage, reduce_storage)
    for kind in (TypedStorage, *TypedStorage.__subclasses__()):
        register(kind, reduce_typed_storage)
