"""Padding layers: the amounts are one number, or (left, right, top, bottom, front, back) as far as needed."""

from .. import functional as F
from .module import Module
from .utils import _ntuple

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _PadNd(Module):
    __constants__ = ["padding"]
    _n = None  # spatial dimensions
    _mode = None

    def __init__(self, padding):
        super().__init__()
        self.padding = _ntuple(2 * self._n)(padding)

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def _check_input_dim(self, input):
        if input.dim() not in (self._n + 1, self._n + 2):
            raise ValueError(f"expected {self._n + 1}D or {self._n + 2}D input (got {input.dim()}D input)")

    def forward(self, input):
        self._check_input_dim(input)
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """Continue (N, C, L) or (C, L) periodically."""

    _n = 1


class CircularPad2d(_CircularPadNd):
    """Continue (N, C, H, W) or (C, H, W) periodically."""

    _n = 2


class CircularPad3d(_CircularPadNd):
    """Continue (N, C, D, H, W) or (C, D, H, W) periodically."""

    _n = 3


class _ConstantPadNd(_PadNd):
    __constants__ = ["padding", "value"]
    _mode = "constant"

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Extend the last dimension with `value`."""

    _n = 1


class ConstantPad2d(_ConstantPadNd):
    """Extend the last two dimensions with `value`."""

    _n = 2


class ConstantPad3d(_ConstantPadNd):
    """Extend the last three dimensions with `value`."""

    _n = 3


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """Mirror (N, C, L) or (C, L) at its ends."""

    _n = 1


class ReflectionPad2d(_ReflectionPadNd):
    """Mirror (N, C, H, W) or (C, H, W) at its borders."""

    _n = 2


class ReflectionPad3d(_ReflectionPadNd):
    """Mirror (N, C, D, H, W) or (C, D, H, W) at its borders."""

    _n = 3


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """Repeat the end values of (N, C, L) or (C, L)."""

    _n = 1


class ReplicationPad2d(_ReplicationPadNd):
    """Repeat the border values of (N, C, H, W) or (C, H, W)."""

    _n = 2


class ReplicationPad3d(_ReplicationPadNd):
    """Repeat the border values of (N, C, D, H, W) or (C, D, H, W)."""

    _n = 3


class _ZeroPadMixin:
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad1d(_ZeroPadMixin, ConstantPad1d):
    """Extend the last dimension with zeros."""


class ZeroPad2d(_ZeroPadMixin, ConstantPad2d):
    """Extend the last two dimensions with zeros."""


class ZeroPad3d(_ZeroPadMixin, ConstantPad3d):
    """Extend the last three dimensions with zeros."""
