"""Helpers around the library: data loading, checkpointing, trees of tensors, hooks. They load when they are first used."""

import importlib

_SUBMODULES = frozenset(
    "_pytree benchmark checkpoint collect_env data deterministic dlpack hooks model_zoo module_tracker".split()
)


def __getattr__(name):
    if name in _SUBMODULES:
        return importlib.import_module("." + name, __name__)
    raise AttributeError(f"module 'torch.utils' has no attribute '{name}'")
