"""Convolutions in one, two and three dimensions: one implementation, `_ConvNd`, and its thin subclasses."""

import math

import flambeau

from .. import functional as F
from .. import init
from ..parameter import Parameter, UninitializedParameter
from .lazy import LazyModuleMixin
from .module import Module
from .utils import _ntuple, _reverse_repeat_tuple

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "LazyConv1d", "LazyConv2d",
    "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d",
]  # fmt: skip

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """Settings, parameters and printing of every convolution. Subclasses say how many dimensions they have.

    Args:
        in_channels, out_channels: channels of input and output.
        kernel_size, stride, padding, dilation: one number, or one per dimension. Default: stride 1, padding 0,
            dilation 1. `padding` may also be 'valid' (none) or 'same' (output as large as the input; stride 1 only).
        groups: input and output channels are cut in this many independent groups. Default: 1.
        bias: learn an additive bias. Default: True.
        padding_mode: 'zeros' (default), 'reflect', 'replicate' or 'circular'.
    """

    __constants__ = [
        "stride", "padding", "dilation", "groups", "padding_mode", "output_padding", "in_channels", "out_channels",
        "kernel_size",
    ]  # fmt: skip
    transposed = False
    _n = None  # number of spatial dimensions

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed, output_padding, groups,
        bias, padding_mode, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'valid', 'same'}}")
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {set(_PADDING_MODES)}, but got padding_mode='{padding_mode}'"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        # What the other padding modes add before the convolution: both sides, last dimension first.
        if isinstance(padding, str):
            amounts = [0, 0] * len(kernel_size)
            if padding == "same":
                for i, (d, k) in enumerate(zip(reversed(dilation), reversed(kernel_size), strict=True)):
                    total = d * (k - 1)
                    amounts[2 * i : 2 * i + 2] = total // 2, total - total // 2
            self._reversed_padding_repeated_twice = amounts
        else:
            self._reversed_padding_repeated_twice = _reverse_repeat_tuple(padding, 2)
        shape = (
            (in_channels, out_channels // groups, *kernel_size) if transposed
            else (out_channels, in_channels // groups, *kernel_size)
        )  # fmt: skip
        self.weight = Parameter(flambeau.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(flambeau.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        # With a = sqrt(5) the bound of kaiming_uniform_ is 1 / sqrt(fan_in).
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _conv_forward(self, input, weight, bias):
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return self._function(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input):
        return self._conv_forward(input, self.weight, self.bias)

    def extra_repr(self):
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )
        if self.padding != (0,) * len(self.kernel_size):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.setdefault("padding_mode", "zeros")


class _Conv(_ConvNd):
    """A convolution in `_n` dimensions."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
        padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        parse = _ntuple(self._n)
        super().__init__(
            in_channels, out_channels, parse(kernel_size), parse(stride),
            padding if isinstance(padding, str) else parse(padding), parse(dilation), False, parse(0), groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip


class Conv1d(_Conv):
    """Convolution over (N, C_in, L) or (C_in, L); arguments as in :class:`_ConvNd`.

    >>> nn.Conv1d(16, 33, 3, stride=2)(flambeau.randn(20, 16, 50)).shape
    torch.Size([20, 33, 24])
    """

    _n = 1
    _function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    """Convolution over (N, C_in, H, W) or (C_in, H, W); arguments as in :class:`_ConvNd`.

    >>> nn.Conv2d(16, 33, 3, padding="same")(flambeau.randn(20, 16, 50, 40)).shape
    torch.Size([20, 33, 50, 40])
    """

    _n = 2
    _function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    """Convolution over (N, C_in, D, H, W) or (C_in, D, H, W); arguments as in :class:`_ConvNd`."""

    _n = 3
    _function = staticmethod(F.conv3d)


class _ConvTransposeNd(_ConvNd):
    """The gradient of a convolution with respect to its input, in `_n` dimensions.

    `output_padding` (default 0) adds to one side of the output, to choose among the sizes that a strided convolution
    would map to the same input.
    """

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True,
        dilation=1, padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        parse = _ntuple(self._n)
        super().__init__(
            in_channels, out_channels, parse(kernel_size), parse(stride), parse(padding), parse(dilation), True,
            parse(output_padding), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _output_padding(
        self, input, output_size, stride, padding, kernel_size, num_spatial_dims, dilation=None
    ):
        """The output padding that gives `output_size`."""
        if output_size is None:
            return _ntuple(num_spatial_dims)(self.output_padding)
        batched = input.dim() == num_spatial_dims + 2
        leading = 2 if batched else 1
        if len(output_size) == leading + num_spatial_dims:
            output_size = output_size[leading:]
        if len(output_size) != num_spatial_dims:
            raise ValueError(
                f"ConvTranspose{num_spatial_dims}D: for {input.dim()}D input, output_size must have {num_spatial_dims} "
                f"or {leading + num_spatial_dims} elements (got {len(output_size)})"
            )
        dilation = (1,) * num_spatial_dims if dilation is None else dilation
        smallest = [
            (input.size(d + leading) - 1) * stride[d]
            - 2 * padding[d]
            + dilation[d] * (kernel_size[d] - 1)
            + 1
            for d in range(num_spatial_dims)
        ]
        largest = [low + stride[d] - 1 for d, low in enumerate(smallest)]
        if any(
            not low <= size <= high for low, size, high in zip(smallest, output_size, largest, strict=True)
        ):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {smallest} to {largest} "
                f"(for an input of {input.size()[2:]})"
            )
        return [size - low for size, low in zip(output_size, smallest, strict=True)]

    def forward(self, input, output_size=None):
        output_padding = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, self._n, self.dilation
        )
        return self._function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution over (N, C_in, L) or (C_in, L)."""

    _n = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """Transposed convolution over (N, C_in, H, W) or (C_in, H, W)."""

    _n = 2
    _function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed convolution over (N, C_in, D, H, W) or (C_in, D, H, W)."""

    _n = 3
    _function = staticmethod(F.conv_transpose3d)


class _LazyConvMixin(LazyModuleMixin):
    """Takes `in_channels` from the first input."""

    def __init__(self, out_channels, kernel_size, *args, **kwargs):
        names = self.cls_to_become._settings
        settings = {**dict(zip(names, args, strict=False)), **kwargs}
        bias = settings.pop("bias", True)
        device, dtype = settings.pop("device", None), settings.pop("dtype", None)
        super().__init__(0, 0, kernel_size, bias=False, **settings)
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self):
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input, *args, **kwargs):
        if self.has_uninitialized_params():
            if input.dim() not in (self._n + 1, self._n + 2):
                raise RuntimeError(
                    f"Expected {self._n + 1}D (unbatched) or {self._n + 2}D (batched) input to "
                    f"{type(self).__name__}, but got input of size: {input.shape}"
                )
            self.in_channels = input.shape[-self._n - 1]
            if self.in_channels % self.groups != 0:
                raise ValueError("in_channels must be divisible by groups")
            first, second = self.out_channels, self.in_channels
            if self.transposed:
                first, second = second, first
            self.weight.materialize((first, second // self.groups, *self.kernel_size))
            if self.bias is not None:
                self.bias.materialize((self.out_channels,))
            self.reset_parameters()


# The settings that follow kernel_size, for lazy modules' positional arguments.
_Conv._settings = ("stride", "padding", "dilation", "groups", "bias", "padding_mode", "device", "dtype")
_ConvTransposeNd._settings = (
    "stride", "padding", "output_padding", "groups", "bias", "dilation", "padding_mode", "device", "dtype",
)  # fmt: skip


class LazyConv1d(_LazyConvMixin, Conv1d):
    """A :class:`Conv1d` that takes `in_channels` from its first input."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConvMixin, Conv2d):
    """A :class:`Conv2d` that takes `in_channels` from its first input."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConvMixin, Conv3d):
    """A :class:`Conv3d` that takes `in_channels` from its first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvMixin, ConvTranspose1d):
    """A :class:`ConvTranspose1d` that takes `in_channels` from its first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvMixin, ConvTranspose2d):
    """A :class:`ConvTranspose2d` that takes `in_channels` from its first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvMixin, ConvTranspose3d):
    """A :class:`ConvTranspose3d` that takes `in_channels` from its first input."""

    cls_to_become = ConvTranspose3d
