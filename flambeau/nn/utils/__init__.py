"""Helpers for parameters and modules."""

import importlib

_HOME = {
    **dict.fromkeys(
        ("clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"),
        "clip_grad",
    ),
    **dict.fromkeys(("parameters_to_vector", "vector_to_parameters"), "convert_parameters"),
    **dict.fromkeys(
        ("fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"),
        "fusion",
    ),
    "skip_init": "init",
    **dict.fromkeys(
        ("convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"), "memory_format"
    ),
    "remove_spectral_norm": "spectral_norm",
    "remove_weight_norm": "weight_norm",
}
_SUBMODULES = (
    "clip_grad", "convert_parameters", "fusion", "init", "memory_format", "parametrizations", "parametrize", "prune",
    "rnn", "stateless",
)  # fmt: skip
# Functions that share their module's name.
_SAME_NAME = ("spectral_norm", "weight_norm")

__all__ = sorted({*_HOME, *_SAME_NAME, *("parametrizations", "parametrize", "prune", "rnn", "stateless")})


def __getattr__(name):
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__, *_SUBMODULES})


# A function and its module share a name: the module is loaded at once, so that no later import of it hides the function.
from .spectral_norm import spectral_norm  # noqa: E402
from .weight_norm import weight_norm  # noqa: E402
