"""Which modules inside a model are worth spreading over processes, as questions about one: programs import them.

A policy is asked twice of each module: with ``recurse=True``, whether to look inside it, then whether to take it itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flambeau import nn

__all__ = [
    "ModuleWrapPolicy",
    "always_wrap_policy",
    "lambda_auto_wrap_policy",
    "size_based_auto_wrap_policy",
    "transformer_auto_wrap_policy",
]


def always_wrap_policy(*args, **kwargs) -> bool:
    """Every module."""
    return True


def lambda_auto_wrap_policy(
    module: nn.Module, recurse: bool, nonwrapped_numel: int, lambda_fn: Callable
) -> bool:
    """The modules for which the function says so."""
    return True if recurse else lambda_fn(module)


def transformer_auto_wrap_policy(
    module: nn.Module, recurse: bool, nonwrapped_numel: int, transformer_layer_cls: set[type[nn.Module]]
) -> bool:
    """The modules of the given classes, a transformer's layers say."""
    return True if recurse else isinstance(module, tuple(transformer_layer_cls))


def size_based_auto_wrap_policy(
    module: nn.Module,
    recurse: bool,
    nonwrapped_numel: int,
    min_num_params: int = int(1e8),
    force_leaf_modules: set[type[nn.Module]] | None = None,
    exclude_wrap_modules: set[type[nn.Module]] | None = None,
) -> bool:
    """The modules with at least so many parameters.

    Args:
        module: the module. recurse: whether the question is to look inside.
        nonwrapped_numel: how many parameters in it have not been taken yet.
        min_num_params: how many make it worth while.
        force_leaf_modules: classes not to look into; attention's by default.
        exclude_wrap_modules: classes not to take; lists and dictionaries of modules by default.

    >>> from flambeau.distributed.fsdp.wrap import size_based_auto_wrap_policy
    >>> size_based_auto_wrap_policy(flambeau.nn.Linear(2, 2), False, 6, min_num_params=5)
    True
    """
    leaves = {nn.MultiheadAttention} if force_leaf_modules is None else force_leaf_modules
    excluded = {nn.ModuleList, nn.ModuleDict} if exclude_wrap_modules is None else exclude_wrap_modules
    barred = leaves if recurse else excluded
    return nonwrapped_numel >= min_num_params and not isinstance(module, tuple(barred))


class ModuleWrapPolicy:
    """The modules of the given classes."""

    def __init__(self, module_classes: Iterable[type[nn.Module]]):
        self._module_classes = set(module_classes)

    def __call__(self, module: nn.Module, recurse: bool, *args, **kwargs) -> bool:
        return transformer_auto_wrap_policy(module, recurse, -1, self._module_classes)


def _or_policy(module: nn.Module, recurse: bool, nonwrapped_numel: int, policies) -> bool:
    """The modules that one of the policies takes."""
    return any(
        policy(module=module, recurse=recurse, nonwrapped_numel=nonwrapped_numel) for policy in policies
    )
