"""Settings of modules whose weights are spread over processes, as data: programs name them where they are imported.

`FullyShardedDataParallel`, which would read them, is not there.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import flambeau
from flambeau import nn
from flambeau.nn.modules.batchnorm import _BatchNorm

__all__ = [
    "BackwardPrefetch",
    "CPUOffload",
    "FullOptimStateDictConfig",
    "FullStateDictConfig",
    "MixedPrecision",
    "OptimStateDictConfig",
    "ShardedOptimStateDictConfig",
    "ShardedStateDictConfig",
    "ShardingStrategy",
    "StateDictConfig",
    "StateDictType",
]


class ShardingStrategy(enum.Enum):
    """What is spread: parameters, gradients and the optimizer's state, or fewer of them."""

    FULL_SHARD = 1
    SHARD_GRAD_OP = 2
    NO_SHARD = 3
    HYBRID_SHARD = 4
    _HYBRID_SHARD_ZERO2 = 5


class BackwardPrefetch(enum.Enum):
    """When parameters are fetched in a backward pass."""

    BACKWARD_PRE = 1
    BACKWARD_POST = 2


class StateDictType(enum.Enum):
    """Which form of a state dictionary is made."""

    FULL_STATE_DICT = 1
    LOCAL_STATE_DICT = 2
    SHARDED_STATE_DICT = 3


@dataclass
class CPUOffload:
    """Whether parameters rest on the CPU.

    >>> from flambeau.distributed.fsdp import CPUOffload
    >>> CPUOffload().offload_params
    False
    """

    offload_params: bool = False


@dataclass
class MixedPrecision:
    """Dtypes to compute in, to reduce gradients in, and of buffers; None leaves them as they are."""

    param_dtype: flambeau.dtype | None = None
    reduce_dtype: flambeau.dtype | None = None
    buffer_dtype: flambeau.dtype | None = None
    keep_low_precision_grads: bool = False
    cast_forward_inputs: bool = False
    cast_root_forward_inputs: bool = True
    _module_classes_to_ignore: Sequence[type[nn.Module]] = (_BatchNorm,)


@dataclass
class StateDictConfig:
    """How a state dictionary of a model is made."""

    offload_to_cpu: bool = False


@dataclass
class FullStateDictConfig(StateDictConfig):
    """How one with whole tensors is made: in all processes or in the first."""

    rank0_only: bool = False


@dataclass
class ShardedStateDictConfig(StateDictConfig):
    """How one with parts of tensors is made."""

    _use_dtensor: bool = False


@dataclass
class OptimStateDictConfig:
    """How a state dictionary of an optimizer is made."""

    offload_to_cpu: bool = True


@dataclass
class FullOptimStateDictConfig(OptimStateDictConfig):
    """How one with whole tensors is made: in all processes or in the first."""

    rank0_only: bool = False


@dataclass
class ShardedOptimStateDictConfig(OptimStateDictConfig):
    """How one with parts of tensors is made."""

    _use_dtensor: bool = False
