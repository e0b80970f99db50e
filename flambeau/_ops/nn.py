"""The operators that layers are built from, as compositions of other operators.

A native record takes a composition's place, under the same name and arguments, where a measurement shows that it pays.
`flambeau.nn.functional` checks arguments and calls these.
"""

import math

import flambeau

from .conv import _convolution
from .linalg import linear  # noqa: F401

# --- convolution -----------------------------------------------------------------------------------------------------


def _windows(input, kernel, stride, dilation):
    """View of every window: (N, C, out..., k...)."""
    n = len(kernel)
    for i in range(n):
        input = input.unfold(2 + i, (kernel[i] - 1) * dilation[i] + 1, stride[i])
        if dilation[i] > 1:
            input = input[..., :: dilation[i]]
    return input


def _pad(input, before, after):
    amounts = [a for pair in zip(reversed(before), reversed(after), strict=True) for a in pair]
    return flambeau.nn.functional.pad(input, amounts) if any(amounts) else input


def _check_convolution(input, weight, bias, stride, padding, dilation, transposed, groups):
    if weight.dim() != input.dim():
        raise RuntimeError(
            f"convolution: expected weight with {input.dim()} dimensions for input of size {list(input.shape)}, but got "
            f"weight of size {list(weight.shape)}"
        )
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if min(stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(padding) < 0:
        raise RuntimeError("negative padding is not supported")
    if min(dilation) <= 0:
        raise RuntimeError("dilation should be greater than zero")
    if input.dtype != weight.dtype:
        raise RuntimeError(
            f"Input type ({input.type()}) and weight type ({weight.type()}) should be the same"
        )
    if bias is not None and bias.dtype != input.dtype:
        raise RuntimeError(f"Input type ({input.type()}) and bias type ({bias.type()}) should be the same")
    expected = weight.size(0) if transposed else weight.size(1) * groups
    if input.size(1) != expected:
        raise RuntimeError(
            f"Given {'transposed=1' if transposed else f'groups={groups}'}, weight of size {list(weight.shape)}, expected "
            f"input{list(input.shape)} to have {expected} channels, but got {input.size(1)} channels instead"
        )
    if weight.size(0) % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of size "
            f"{list(weight.shape)} instead"
        )
    channels = weight.size(1) * groups if transposed else weight.size(0)
    if bias is not None and (bias.dim() != 1 or bias.size(0) != channels):
        raise RuntimeError(
            f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {channels} elements, "
            f"but got bias of size {list(bias.shape)} instead"
        )


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """Convolution of (N, C, ...) in one to three dimensions, or its gradient with respect to the input.

    The native operator takes floating point; complex numbers are twice as many channels for it, and integers are composed
    of windows and products.
    """
    if input.dtype.is_floating_point:
        return _convolution(
            input, weight, bias, stride, padding, dilation, transposed, output_padding, groups
        )
    _check_convolution(input, weight, bias, stride, padding, dilation, transposed, groups)
    if input.is_complex():
        output = _complex_convolution(
            input, weight, stride, padding, dilation, transposed, output_padding, groups
        )
    elif transposed:
        output = _transposed(input, weight, stride, padding, dilation, output_padding, groups)
    else:
        output = _convolve(input, weight, stride, padding, dilation, groups)
    return output if bias is None else output + bias.reshape(-1, *(1,) * (input.dim() - 2))


def _complex_convolution(input, weight, stride, padding, dilation, transposed, output_padding, groups):
    """Each channel as two, the real and the imaginary part, and each element w of the weight as the matrix of x -> w x."""
    real, imag = weight.real, weight.imag
    columns = [real, imag], [-imag, real]
    rows = [real, -imag], [imag, real]
    pairs = flambeau.stack([flambeau.stack(pair, 2) for pair in (columns if transposed else rows)], 1)
    parts = flambeau.view_as_real(input).movedim(-1, 2).flatten(1, 2)
    output = _convolution(
        parts,
        pairs.flatten(2, 3).flatten(0, 1),
        None,
        stride,
        padding,
        dilation,
        transposed,
        output_padding,
        groups,
    )
    return flambeau.complex(*output.unflatten(1, (-1, 2)).unbind(2))


def _convolve(input, weight, stride, padding, dilation, groups):
    kernel = tuple(weight.shape[2:])
    n = len(kernel)
    input = _pad(input, padding, padding)
    if any((k - 1) * d + 1 > size for k, d, size in zip(kernel, dilation, input.shape[2:], strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, input.shape[2:]))}). Kernel size: "
            f"({' x '.join(map(str, kernel))}). Kernel size can't be greater than actual input size"
        )
    windows = _windows(input, kernel, stride, dilation)  # (N, C, out..., k...)
    batch, channels = windows.shape[:2]
    out = tuple(windows.shape[2 : 2 + n])
    windows = windows.reshape(batch, groups, channels // groups, *out, *kernel)
    order = (0, 1, *range(3, 3 + n), 2, *range(3 + n, 3 + 2 * n))
    depth = channels // groups * math.prod(kernel)
    columns = windows.permute(order).reshape(batch, groups, math.prod(out), depth)  # (N, G, P, D)
    filters = weight.reshape(groups, -1, depth)  # (G, O, D)
    output = flambeau.matmul(filters, columns.transpose(-1, -2))  # (N, G, O, P)
    return output.reshape(batch, weight.size(0), *out)


def _transposed(input, weight, stride, padding, dilation, output_padding, groups):
    """A convolution with stride 1 of the input spread out with zeros, with the kernel turned round."""
    kernel = tuple(weight.shape[2:])
    n = len(kernel)
    for i in range(n):
        if output_padding[i] >= stride[i] and output_padding[i] >= dilation[i]:
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got output_padding: "
                f"{list(output_padding)}, stride: {list(stride)}, dilation: {list(dilation)}"
            )
        if stride[i] > 1:
            dim = 2 + i
            spread = input.unsqueeze(dim + 1)
            amounts = [0, 0] * (spread.dim() - dim - 2) + [0, stride[i] - 1]
            spread = flambeau.nn.functional.pad(spread, amounts).flatten(dim, dim + 1)
            input = spread.narrow(dim, 0, spread.size(dim) - stride[i] + 1)
    reach = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    input = _pad(input, reach, [r + extra for r, extra in zip(reach, output_padding, strict=True)])
    in_per_group, out_per_group = weight.size(0) // groups, weight.size(1)
    turned = weight.flip(tuple(range(2, 2 + n))).reshape(groups, in_per_group, out_per_group, *kernel)
    turned = turned.transpose(1, 2).reshape(groups * out_per_group, in_per_group, *kernel)
    return _convolve(input, turned, (1,) * n, (0,) * n, dilation, groups)
