"""A group of processes, as one of its members sees it: its connections, and the queue of its operations."""

from __future__ import annotations

import flambeau

from .collectives import Collectives
from .constants import seconds_of
from .p2p import Messages
from .transport import Mismatch, PeerLost, connect_all
from .work import Queue, Work

__all__ = ["ProcessGroup", "ProcessGroupGloo"]


class ProcessGroup:
    """Processes that work together; made by `init_process_group` and `new_group`.

    Operations of a group run in the order in which they were called, which has to be the same in all its processes. A
    failure ends the group: all its processes get an error, now or with their next operation.
    """

    def __init__(
        self, store, rank: int, size: int, timeout, *, name="", desc="undefined", ranks=None, backend="gloo"
    ):
        self._store, self._rank, self._size = store, rank, size
        self._timeout = timeout
        self._name, self._desc, self._backend = name, desc, backend
        self._ranks = list(range(size)) if ranks is None else list(ranks)
        self._broken: BaseException | None = None
        links, sockets = connect_all(store, rank, size, timeout) if size > 1 else ({}, {})
        self._collectives = Collectives(rank, size, links)
        self._messages = Messages(rank, sockets, seconds_of(timeout))
        self._queue = Queue(f"group-{name}")
        self._barriers = 0

    # ---- what it is

    def rank(self) -> int:
        """This process's number in the group."""
        return self._rank

    def size(self) -> int:
        """How many processes there are."""
        return self._size

    def name(self) -> str:
        """The backend."""
        return "gloo"

    def getBackendName(self) -> str:
        """The backend."""
        return "gloo"

    @property
    def group_name(self) -> str:
        """The group's name, the same in all its processes."""
        return self._name

    @property
    def group_desc(self) -> str:
        """What the group is for."""
        return self._desc

    @property
    def bound_device_id(self):
        """None: groups are not bound to a device here."""
        return None

    @property
    def _device_types(self) -> list:
        return [flambeau.device("cpu")]

    def set_timeout(self, timeout) -> None:
        """Let operations from now on wait for others as long as this `timedelta`."""
        seconds = seconds_of(timeout)
        self._timeout = timeout
        for link in self._collectives.links.values():
            link.set_timeout(seconds)
        self._messages.set_timeout(seconds)

    # ---- running

    def run(self, function, tensors=(), async_op: bool = False) -> Work | None:
        """Call ``function(collectives)`` when its turn comes: now, or, if `async_op`, in the group's own thread."""
        if self._broken is not None:
            raise self._failed_before()

        def guarded() -> None:
            if self._broken is not None:
                raise self._failed_before()
            try:
                function(self._collectives)
            except BaseException as error:
                # Whatever it was, the others wait in the middle of it: they have to learn.
                raise self._fail(error) from None

        return self._queue.run(guarded, Work(tensors) if async_op else None)

    def _failed_before(self) -> RuntimeError:
        return RuntimeError(
            f"The process group {self._name!r} can no longer be used: an earlier operation failed with: {self._broken}"
        )

    def _fail(self, error: BaseException) -> BaseException:
        if isinstance(error, Mismatch):
            error = RuntimeError(self._collectives.explain(error))
        elif isinstance(error, PeerLost):
            error = RuntimeError(str(error))
        if self._broken is None:
            self._broken = error
            for link in self._collectives.links.values():
                link.shut_down()
        return error

    def wait_limited(self, seconds: float, function) -> None:
        """Run `function` with another limit on how long it may wait for others."""

        def limited(collectives) -> None:
            usual = seconds_of(self._timeout)
            for link in collectives.links.values():
                link.set_timeout(seconds)
            try:
                function(collectives)
            finally:
                for link in collectives.links.values():
                    link.set_timeout(usual)

        self.run(limited)

    def shutdown(self) -> None:
        """Close the connections. Operations under way fail, in this process and in the others."""
        reason = RuntimeError(f"The process group {self._name!r} was destroyed")
        self._queue.close(reason)
        for link in self._collectives.links.values():
            link.shut_down()
        self._queue.join(2)
        self._messages.close()
        for link in self._collectives.links.values():
            link.close()
        if self._broken is None:
            self._broken = reason

    abort = shutdown

    # ---- operations by their short names, as of PyTorch's own class; each returns a Work

    def allreduce(self, tensors, op=None):
        """`all_reduce` of a tensor, or of each of a list."""
        from . import operations
        from .reduce_op import ReduceOp

        op = getattr(op, "reduceOp", op)
        tensors = tensors if isinstance(tensors, (list, tuple)) else [tensors]
        return operations.all_reduce_coalesced(
            list(tensors), ReduceOp.SUM if op is None else op, group=self, async_op=True
        )

    def broadcast(self, tensor, root=0):
        """`broadcast` from the process `root` of the group."""
        from . import operations

        tensor = tensor[0] if isinstance(tensor, (list, tuple)) else tensor
        root = getattr(root, "rootRank", root)
        return operations.broadcast(tensor, group_src=root, group=self, async_op=True)

    def allgather(self, output_tensors, input_tensor):
        """`all_gather` into a list of tensors."""
        from . import operations

        return operations.all_gather(output_tensors, input_tensor, group=self, async_op=True)

    def barrier(self, opts=None):
        """`barrier`."""
        from . import operations

        return operations.barrier(group=self, async_op=True)

    def __getstate__(self):
        raise TypeError("a ProcessGroup cannot be pickled: it is the connections of this process")


#: The name of PyTorch's class for this backend.
ProcessGroupGloo = ProcessGroup
