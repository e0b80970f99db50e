"""Modules whose weights are spread over processes: their names. Each process has the whole model in flambeau."""

from __future__ import annotations

from flambeau import nn

from .._absent import absent_class, absent_function
from .api import (
    BackwardPrefetch,
    CPUOffload,
    FullOptimStateDictConfig,
    FullStateDictConfig,
    MixedPrecision,
    OptimStateDictConfig,
    ShardedOptimStateDictConfig,
    ShardedStateDictConfig,
    ShardingStrategy,
    StateDictConfig,
    StateDictType,
)

__all__ = [
    "BackwardPrefetch",
    "CPUOffload",
    "CPUOffloadPolicy",
    "FSDPModule",
    "FullOptimStateDictConfig",
    "FullStateDictConfig",
    "FullyShardedDataParallel",
    "MixedPrecision",
    "MixedPrecisionPolicy",
    "OffloadPolicy",
    "OptimStateDictConfig",
    "ShardedOptimStateDictConfig",
    "ShardedStateDictConfig",
    "ShardingStrategy",
    "StateDictConfig",
    "StateDictType",
    "fully_shard",
]

_WHY = (
    "flambeau does not spread a module's weights; nn.parallel.DistributedDataParallel shares out the batches"
)

FSDPModule = absent_class(__name__, "FSDPModule", _WHY)
FullyShardedDataParallel = absent_class(__name__, "FullyShardedDataParallel", _WHY, nn.Module)
OffloadPolicy = absent_class(__name__, "OffloadPolicy", _WHY)
CPUOffloadPolicy = absent_class(__name__, "CPUOffloadPolicy", _WHY, OffloadPolicy)
MixedPrecisionPolicy = absent_class(__name__, "MixedPrecisionPolicy", _WHY)
fully_shard = absent_function(__name__, "fully_shard", _WHY)
