"""Communication hooks of `DistributedDataParallel`, and the two that have numbers."""

import enum

from . import default_hooks

__all__ = ["BuiltinCommHookType", "DDPCommHookType", "builtin_hook", "register_ddp_comm_hook"]


class BuiltinCommHookType(enum.Enum):
    """Hooks of the engine."""

    ALLREDUCE = 1
    FP16_COMPRESS = 2


class DDPCommHookType(enum.Enum):
    """Hooks by name."""

    ALLREDUCE = "allreduce_hook"
    FP16_COMPRESS = "fp16_compress_hook"
    BF16_COMPRESS = "bf16_compress_hook"


def builtin_hook(kind: BuiltinCommHookType):
    """The hook that a number stands for."""
    return {
        BuiltinCommHookType.ALLREDUCE: default_hooks.allreduce_hook,
        BuiltinCommHookType.FP16_COMPRESS: default_hooks.fp16_compress_hook,
    }[kind]


def register_ddp_comm_hook(comm_hook_type: DDPCommHookType, model, state=None) -> None:
    """Register a hook with a `DistributedDataParallel` model."""
    model.register_comm_hook(state, getattr(default_hooks, comm_hook_type.value))
