"""Convolutions, padding, and the unfolding of windows into columns."""

import flambeau
from flambeau._dtypes_info import check_computing

from .._ops import folding as _columns
from .._ops import nn as _nn
from .._ops.casts import in_autocast
from .._ops.registry import takes
from ._functional_common import sizes_per_dim


def _check_input(name, input, n):
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, "
            f"but got input of size: {list(input.shape)}"
        )


def _same_padding(name, input, weight, stride, dilation, n):
    """The input and padding that give an output of the input's size."""
    if any(s != 1 for s in sizes_per_dim(stride, n, "stride", name)):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    if weight.dim() != n + 2:
        raise RuntimeError(
            f"Expected {weight.dim()}-dimensional input for {weight.dim()}-dimensional weight{list(weight.shape)}, but "
            f"got {input.dim()}-dimensional input of size {list(input.shape)} instead"
        )
    total = [
        d * (k - 1)
        for d, k in zip(sizes_per_dim(dilation, n, "dilation", name), weight.shape[2:], strict=True)
    ]
    if all(t % 2 == 0 for t in total):
        return input, [t // 2 for t in total]
    # An odd total puts the extra element after the end.
    extra = [amount for t in reversed(total) for amount in (0, t % 2)]
    return pad(input, extra), [t // 2 for t in total]


def _conv(name, n, input, weight, bias, stride, padding, dilation, groups):
    _check_input(name, input, n)
    if isinstance(padding, str):
        if padding == "same":
            input, padding = _same_padding(name, input, weight, stride, dilation, n)
        elif padding == "valid":
            padding = 0
        else:
            raise RuntimeError(f"Invalid padding string: '{padding}'")
    return _call(name, n, input, weight, bias, stride, padding, dilation, False, 0, groups)


def _call(name, n, input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    settings = (
        sizes_per_dim(stride, n, "stride", name),
        sizes_per_dim(padding, n, "padding", name),
        sizes_per_dim(dilation, n, "dilation", name),
        transposed,
        sizes_per_dim(output_padding, n, "output_padding", name),
        groups,
    )
    if input.dim() == n + 2:
        return _nn.convolution(input, weight, bias, *settings)
    return _nn.convolution(input.unsqueeze(0), weight, bias, *settings).squeeze(0)


def _signatures(n):
    """How `convNd` may be called: with padding in numbers, or as a word."""
    head = f"conv{n}d(Tensor input, Tensor weight, Tensor? bias=None, int[{n}] stride=1"
    tail = f"int[{n}] dilation=1, int groups=1)"
    return f"{head}, int[{n}] padding=0, {tail}", f"{head}, str padding, {tail}"


def _transposed_signature(n):
    return (
        f"conv_transpose{n}d(Tensor input, Tensor weight, Tensor? bias=None, int[{n}] stride=1, int[{n}] padding=0, "
        f"int[{n}] output_padding=0, int groups=1, int[{n}] dilation=1)"
    )


@takes(*_signatures(1))
def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolve (N, C, L) or (C, L) with `weight` (out_channels, C / groups, k).

    `padding` is a size, or 'valid' (none) or 'same' (the output has the input's length; stride 1 only).
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@takes(*_signatures(2))
def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolve (N, C, H, W) or (C, H, W) with `weight` (out_channels, C / groups, kH, kW).

    `padding` is one or two sizes, or 'valid' (none) or 'same' (the output has the input's size; stride 1 only).

    >>> F.conv2d(flambeau.ones(1, 1, 3, 3), flambeau.ones(1, 1, 3, 3))
    tensor([[[[9.]]]])
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@takes(*_signatures(3))
def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Convolve (N, C, D, H, W) or (C, D, H, W) with `weight` (out_channels, C / groups, kD, kH, kW)."""
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(name, n, input, weight, bias, stride, padding, output_padding, groups, dilation):
    _check_input(name, input, n)
    return _call(name, n, input, weight, bias, stride, padding, dilation, True, output_padding, groups)


@takes(_transposed_signature(1))
def conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The gradient of :func:`conv1d` with respect to its input; `weight` is (C, out_channels / groups, k)."""
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@takes(_transposed_signature(2))
def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The gradient of :func:`conv2d` with respect to its input; `weight` is (C, out_channels / groups, kH, kW)."""
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@takes(_transposed_signature(3))
def conv_transpose3d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The gradient of :func:`conv3d` with respect to its input; `weight` is (C, out_channels / groups, kD, kH, kW)."""
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@in_autocast("lower")
def conv_tbc(input, weight, bias, pad=0):
    """:func:`conv1d` with time first: input (T, N, C), weight (k, C, out_channels), result (T', N, out_channels)."""
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)


# --- padding -----------------------------------------------------------------------------------------------------


def pad(input, pad, mode="constant", value=None):
    """Extend the last dimensions of `input` by ``pad = (left, right, top, bottom, ...)``, the last dimension first.

    Args:
        mode: 'constant', 'reflect' (without the edge), 'replicate' (the edge) or 'circular'. Negative amounts crop.
        value: the constant. Default: 0.

    >>> F.pad(flambeau.ones(2), (1, 0))
    tensor([0., 1., 1.])
    """
    pad = tuple(pad)
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) // 2 > input.dim():
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {input.dim()}"
        )
    amounts = list(zip(pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        if value is None:  # the integer 0 would be a power of two to float8_e8m0fnu
            value = 0.0 if input.is_floating_point() else 0
        return flambeau.constant_pad_nd(input, pad, value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if mode != "circular":
        check_computing(input, f"{mode}_pad")
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if input.dim() - len(amounts) not in (1, 2) or len(amounts) > 3:
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    return (_pad_border if mode == "circular" else _pad_border_in_float32)(input, amounts, mode)


def _pad_border(input, amounts, mode):
    # With the channels last in memory, they are last while the rows are picked: the result has the layout of the input.
    turned = mode != "circular" and input.dim() > 3 and not input.is_contiguous()
    turned = turned and input.movedim(1, -1).is_contiguous()
    for step, (before, after) in enumerate(amounts):
        dim = input.dim() - 1 - step
        if mode == "circular" and min(before, after) < 0:
            # What is cropped does not come round again.
            input = flambeau.constant_pad_nd(input, [0] * (2 * step) + [min(before, 0), min(after, 0)])
            before, after = max(before, 0), max(after, 0)
        index = _border_index(mode, input, dim, before, after)
        if turned:
            input = input.movedim(1, -1).index_select(dim - 1 if dim > 1 else -1, index).movedim(-1, 1)
        else:
            input = input.index_select(dim, index)
    return input


_pad_border_in_float32 = in_autocast("float32")(_pad_border)


def _border_index(mode, input, dim, before, after):
    """For every position of the padded dimension, the position of the input that it shows."""
    size = input.size(dim)
    if mode == "reflect" and (before >= size or after >= size):
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
            f"({before}, {after}) at dimension {dim} of input {list(input.shape)}"
        )
    if mode == "circular" and (before > size or after > size):
        raise RuntimeError("Padding value causes wrapping around more than once.")
    if size + before + after <= 0 or size == 0:
        raise RuntimeError(
            f"Expected a positive output size at dimension {dim}, but padding ({before}, {after}) of input "
            f"{list(input.shape)} gives {size + before + after}"
        )
    index = flambeau.arange(-before, size + after, device=input.device)
    if mode == "replicate":
        return index.clamp(0, size - 1)
    if mode == "circular":
        return index.remainder(size)
    return (size - 1) - ((size - 1) - index.abs()).abs()


# --- windows as columns --------------------------------------------------------------------------------------------


def _column_layout(sizes, kernel_size, dilation, padding, stride):
    """The number of windows per dimension."""
    return [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, d, p, s in zip(sizes, kernel_size, dilation, padding, stride, strict=True)
    ]


def _pairs(name, **settings):
    return [sizes_per_dim(value, 2, key, name) for key, value in settings.items()]


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Every window of (N, C, H, W) as a column: result (N, C * kH * kW, number of windows)."""
    if input.dim() not in (3, 4):
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
            f"but got: {list(input.shape)}"
        )
    if input.dim() == 3:
        return unfold(input.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    kernel, dilation, padding, stride = _pairs(
        "unfold", kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride
    )
    counts = _column_layout(input.shape[2:], kernel, dilation, padding, stride)
    if min(counts) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(input.shape[2:])}, kernel_size={kernel}, dilation={dilation}, "
            f"padding={padding}, calculated shape of the array of sliding blocks as {tuple(counts)}, but its "
            "components must be at least one."
        )
    return _columns.unfold(input, kernel, dilation, padding, stride)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """The reverse of :func:`unfold`: put columns back into (N, C, H, W), adding where windows overlap."""
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size, but got: {list(input.shape)}"
        )
    if input.dim() == 2:
        return fold(input.unsqueeze(0), output_size, kernel_size, dilation, padding, stride).squeeze(0)
    size, kernel, dilation, padding, stride = _pairs(
        "fold",
        output_size=output_size,
        kernel_size=kernel_size,
        dilation=dilation,
        padding=padding,
        stride=stride,
    )
    area = kernel[0] * kernel[1]
    if input.size(1) % area:
        raise RuntimeError(
            f"Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={input.size(1)} and kernel_size={kernel}."
        )
    counts = _column_layout(size, kernel, dilation, padding, stride)
    if min(counts) < 1 or counts[0] * counts[1] != input.size(2):
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
            f"stride={stride}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{counts[0]} * {counts[1]} = {counts[0] * counts[1]}, but got input.size(2)={input.size(2)}."
        )
    return _columns.fold(input, size, kernel, dilation, padding, stride)
