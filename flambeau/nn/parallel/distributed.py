"""DistributedDataParallel, which needs what flambeau does not have: a group of processes."""

from ..modules.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """A module trained by several processes that average their gradients. Making one is an error here.

    There is no process group: flambeau trains in one process, and uses all of its cores there.
    """

    def __init__(self, module, *args, **kwargs):
        raise ValueError(
            "Default process group has not been initialized: flambeau trains in one process, and has no process groups. "
            "Use the module itself"
        )
