"""Which implementation of attention to use. There is one here, so that the choice changes nothing."""

import contextlib
import enum
import importlib

__all__ = ["SDPBackend", "sdpa_kernel"]

#: PyTorch warns of inputs that its fused kernels cannot take; here nothing is left out.
WARN_FOR_UNFUSED_KERNELS = False


class SDPBackend(enum.Enum):
    """The names that PyTorch gives its implementations of `scaled_dot_product_attention`."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self):
        return self.value

    __index__ = __int__


@contextlib.contextmanager
def sdpa_kernel(backends, set_priority=False):
    """Names implementations (`SDPBackend`, or a list of them) to use inside ``with``; accepted without effect.

    All of them stand for the same function, and this package has one implementation of it.
    """
    if not isinstance(backends, (SDPBackend, list)):
        raise AssertionError(
            f"Backend must be an instance of SDPBackend or a list of SDPBackend instances, got {type(backends).__name__}"
        )
    yield {}


def __getattr__(name):
    if name == "bias":
        return importlib.import_module(f"{__name__}.bias")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
