"""Neural networks. Submodules and layers load when first used, so that importing the package stays cheap."""

import importlib

from .modules import _HOME

_PARAMETER_NAMES = ("Parameter", "Buffer", "UninitializedParameter", "UninitializedBuffer")
_PARALLEL_NAMES = ("DataParallel",)
_SUBMODULES = ("attention", "functional", "grad", "init", "modules", "parallel", "parameter", "utils")

__all__ = sorted((*_HOME, *_PARAMETER_NAMES, *_PARALLEL_NAMES))


def __getattr__(name):
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.modules.{_HOME[name]}"), name)
    elif name in _PARAMETER_NAMES:
        value = getattr(importlib.import_module(f"{__name__}.parameter"), name)
    elif name in _PARALLEL_NAMES:
        value = getattr(importlib.import_module(f"{__name__}.parallel"), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__, *_SUBMODULES})
