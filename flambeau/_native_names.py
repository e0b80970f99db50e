"""Names that programs look for in PyTorch's native module, ``torch._C``, and that are Python here."""

from __future__ import annotations

import types

from ._C import Tensor
from ._dispatch_keys import DispatchKey, DispatchKeySet, _ExcludeDispatchKeyGuard
from ._ops.factorizations import LinAlgError
from ._settings import DisableTorchFunctionSubclass
from .nn.modules._conversion import _parse_to

__all__ = [
    "DisableTorchFunctionSubclass",
    "DispatchKey",
    "DispatchKeySet",
    "_ExcludeDispatchKeyGuard",
    "_LinAlgError",
    "_TensorMeta",
    "_are_functorch_transforms_active",
    "_functorch",
    "_get_accelerator",
    "_get_default_device",
    "_get_privateuse1_backend_name",
    "_get_tracing_state",
    "_log_api_usage_once",
    "_nn",
]

#: The class of the class: programs name it in annotations and derive their own metaclasses from it.
_TensorMeta = type(Tensor)
_LinAlgError = LinAlgError


def _get_tracing_state() -> None:
    """The tracing that is going on: none."""


def _log_api_usage_once(event: str) -> None:
    """Accepted: nobody counts what is used."""


def _get_privateuse1_backend_name() -> str:
    """The name of the device that an extension may define: nobody has."""
    return "privateuseone"


def _get_accelerator():
    """The device to compute on: the CPU."""
    import flambeau

    return flambeau.device("cpu")


def _get_default_device() -> str:
    """The kind of device of new tensors.

    >>> from flambeau import _C
    >>> _C._get_default_device()
    'cpu'
    """
    from ._device import get_default_device

    return get_default_device().type


def _are_functorch_transforms_active() -> bool:
    """Whether a function transform of `flambeau.func` is running."""
    from ._C import _transforms

    return _transforms() > 0


_nn = types.SimpleNamespace(_parse_to=_parse_to)
_functorch = types.SimpleNamespace(is_legacy_batchedtensor=lambda tensor: False)
