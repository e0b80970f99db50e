"""`flambeau.distributed.fsdp` by an inner name."""

from . import FullyShardedDataParallel

__all__ = ["FullyShardedDataParallel"]
