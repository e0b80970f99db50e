"""Pooling: sizes per dimension are settled here, the operators are native."""

import flambeau

from .._ops import pooling as _native
from .._ops.casts import in_autocast
from .._ops.registry import takes
from .._ops.truth import any_true
from ._functional_common import ntuple, sizes_per_dim


def _settings(name, n, kernel_size, stride, padding, dilation=1):
    """Kernel size, stride (default: the kernel size), padding and dilation, one entry per dimension each."""
    kernel = sizes_per_dim(kernel_size, n, "kernel_size", name)
    if stride is None or (isinstance(stride, (tuple, list)) and not stride):
        stride = kernel
    return (
        kernel,
        sizes_per_dim(stride, n, "stride", name),
        sizes_per_dim(padding, n, "padding", name),
        sizes_per_dim(dilation, n, "dilation", name),
    )


def _check_input(name, input, n):
    if input.dim() not in (n + 1, n + 2) and (n == 3 or (n == 2 and "max" in name)):
        raise RuntimeError(
            f"{name}: non-empty {n + 1}D or {n + 2}D (batch mode) tensor expected for input, but got: {list(input.shape)}"
        )
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, "
            f"but got: {list(input.shape)}"
        )


# --- max pooling -----------------------------------------------------------------------------------------------------


def _max_pool(name, n, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    _check_input(name, input, n)
    pool = _native.max_pool_with_indices if return_indices else _native.max_pool
    result = pool(input, *_settings(name, n, kernel_size, stride, padding, dilation), ceil_mode)
    return tuple(result) if return_indices else result


def max_pool1d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """:func:`max_pool1d` and the positions of the maxima."""
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """:func:`max_pool2d` and the positions of the maxima in the flattened plane."""
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@in_autocast("float32")
def max_pool3d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """:func:`max_pool3d` and the positions of the maxima in the flattened volume."""
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest element of every window of (N, C, L) or (C, L); `stride` defaults to `kernel_size`."""
    return _max_pool(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest element of every window of (N, C, H, W) or (C, H, W); `stride` defaults to `kernel_size`.

    >>> F.max_pool2d(flambeau.arange(4.0).reshape(1, 2, 2), 2)
    tensor([[[3.]]])
    """
    return _max_pool(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


@in_autocast("float32")
def max_pool3d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest element of every window of (N, C, D, H, W) or (C, D, H, W)."""
    return _max_pool(
        "max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def _fractional(n, input, kernel_size, output_size, output_ratio, samples):
    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got: {list(input.shape)}")
    if output_size is None:
        ratio = ntuple(output_ratio, n)
        output_size = [int(size * r) for size, r in zip(input.shape[-n:], ratio, strict=True)]
    kernel, size = sizes_per_dim(kernel_size, n, "kernel_size", name), ntuple(output_size, n)
    what = ("time", "height", "width")[-n:]
    for axis, k, o, current in zip(what, kernel, size, input.shape[-n:], strict=True):
        if o + k - 1 > current:
            raise RuntimeError(f"{name}(): pool {axis} {k} too large relative to input {axis} {current}")
    if samples is None:
        batch = input.size(0) if input.dim() == n + 2 else 1
        samples = flambeau.rand(batch, input.size(-n - 1), n, dtype=input.dtype, device=input.device)
    elif samples.dim() == 3 and samples.size(1) != input.size(-n - 1):
        raise RuntimeError("Expect _random_samples.size(1) equals to input channel size.")
    return tuple(_native.fractional_max_pool_with_indices(input, kernel, size, samples))


@in_autocast("float32")
def fractional_max_pool2d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """:func:`fractional_max_pool2d` and the positions of the maxima in the flattened plane."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


@in_autocast("float32")
def fractional_max_pool3d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """:func:`fractional_max_pool3d` and the positions of the maxima in the flattened volume."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """The largest elements of windows whose places are drawn at random, in order, for every plane.

    Shapes: input (N, C, H, W) or (C, H, W); the result has `output_size`, or the input's size times `output_ratio`.
    From Graham, "Fractional Max-Pooling", 2014.
    """
    result = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return result if return_indices else result[0]


def fractional_max_pool3d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """The largest elements of windows whose places are drawn at random: (N, C, D, H, W) or (C, D, H, W)."""
    result = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return result if return_indices else result[0]


def _max_unpool(name, n, input, indices, kernel_size, stride, padding, output_size):
    kernel = ntuple(kernel_size, n)
    stride = kernel if stride is None else ntuple(stride, n)
    padding = ntuple(padding, n)
    default = [
        (size - 1) * s - 2 * p + k
        for size, s, p, k in zip(input.shape[-n:], stride, padding, kernel, strict=True)
    ]
    if output_size is None:
        size = default
    else:
        size = list(output_size)
        if len(size) == n + 2:
            size = size[2:]
        if len(size) != n:
            raise ValueError(
                f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
                f"'{len(output_size)}'"
            )
        for i, (given, usual, s) in enumerate(zip(size, default, stride, strict=True)):
            if not usual - s < given < usual + s:
                raise ValueError(
                    f'invalid output_size "{size}" (dim {i} must be between {usual - s} and {usual + s})'
                )
    if input.shape != indices.shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got "
            f"indices tensor with shape: {list(indices.shape)}"
        )
    area = 1
    for s in size:
        area *= s
    lead = input.shape[:-n]
    if indices.numel() and any_true((indices < 0) | (indices >= area)):
        raise RuntimeError(f"{name}: found an invalid max index (output volumes are of size {size})")
    flat = input.new_zeros((*lead, area)).scatter(-1, indices.flatten(-n), input.flatten(-n))
    return flat.unflatten(-1, size)


@in_autocast("float32")
def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put the maxima of :func:`max_pool1d` back at their positions, with zeros elsewhere."""
    return _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@in_autocast("float32")
def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put the maxima of :func:`max_pool2d` back at their positions, with zeros elsewhere."""
    return _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


@in_autocast("float32")
def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put the maxima of :func:`max_pool3d` back at their positions, with zeros elsewhere."""
    return _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


# --- average pooling -------------------------------------------------------------------------------------------------


def _avg_pool(
    name, n, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, out
):
    _check_input(name, input, n)
    kernel, stride, padding, _ = _settings(name, n, kernel_size, stride, padding)
    return _native.avg_pool(
        input, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override, out=out
    )


@takes(
    "avg_pool1d(Tensor input, int[1] kernel_size, int[1]? stride=None, int[1] padding=0, bool ceil_mode=False, "
    "bool count_include_pad=True)"
)
def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of every window of (N, C, L) or (C, L)."""
    return _avg_pool(
        "avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None, None
    )


@takes(
    "avg_pool2d(Tensor input, int[2] kernel_size, int[2]? stride=None, int[2] padding=0, bool ceil_mode=False, "
    "bool count_include_pad=True, int? divisor_override=None, *, Tensor? out=None)"
)
def avg_pool2d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    out=None,
):
    """The mean of every window of (N, C, H, W) or (C, H, W); `stride` defaults to `kernel_size`.

    Args:
        count_include_pad: zeros of the padding count as elements. Default: True.
        divisor_override: divide the sums by this instead of the number of elements.
    """
    return _avg_pool(
        "avg_pool2d",
        2,
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        out,
    )


@takes(
    "avg_pool3d(Tensor input, int[3] kernel_size, int[3]? stride=None, int[3] padding=0, bool ceil_mode=False, "
    "bool count_include_pad=True, int? divisor_override=None, *, Tensor? out=None)"
)
@in_autocast("float32")
def avg_pool3d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    out=None,
):
    """The mean of every window of (N, C, D, H, W) or (C, D, H, W)."""
    return _avg_pool(
        "avg_pool3d",
        3,
        input,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
        out,
    )


def _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, pool, n):
    kernel = ntuple(kernel_size, n)
    count = 1
    for k in kernel:
        count *= k
    mean = pool(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return (flambeau.sign(mean) * flambeau.relu(mean.abs())).mul(count).pow(1.0 / norm_type)


def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The norm of order `norm_type` (without absolute values) of every window of (N, C, L)."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, avg_pool1d, 1)


def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The norm of order `norm_type` (without absolute values) of every window of (N, C, H, W)."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, avg_pool2d, 2)


def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The norm of order `norm_type` (without absolute values) of every window of (N, C, D, H, W)."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, avg_pool3d, 3)


# --- adaptive pooling ------------------------------------------------------------------------------------------------


def _adaptive_size(name, input, output_size, n):
    if n == 1 and output_size is not None and len(ntuple(output_size, 1)) != 1:
        raise RuntimeError(f"{name}: 'output_size' should contain one int, but got {list(output_size)}")
    if n > 1 and isinstance(output_size, (tuple, list)) and len(output_size) >= input.dim():
        raise ValueError(
            f"Input dimension should be at least {len(output_size) + 1}, but {name} got {input.dim()}"
        )
    _check_input(name, input, n)
    size = ntuple(output_size, n) if output_size is not None else (None,) * n
    if len(size) != n:
        what = "internal error: output_size.size()" if "max" in name else "output_size"
        raise RuntimeError(f"{name}(): {what} must be {n}, but got {list(size)}")
    size = [
        current if wanted is None else wanted for wanted, current in zip(size, input.shape[-n:], strict=True)
    ]
    if min(size) < 0 and "max" in name:
        shape = [*input.shape[:-n], *size]
        raise RuntimeError(f"{name}: Trying to create tensor with negative dimension {min(size)}: {shape}")
    if min(size) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received {size}"
        )
    return size


def _adaptive_avg_pool(name, n, input, output_size):
    return _native.adaptive_avg_pool(input, _adaptive_size(name, input, output_size, n))


def adaptive_avg_pool1d(input, output_size):
    """The means of `output_size` windows that cover (N, C, L) evenly."""
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input, output_size):
    """The means of windows that cover (N, C, H, W) evenly; None in `output_size` keeps a dimension's size."""
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


@in_autocast("float32")
def adaptive_avg_pool3d(input, output_size):
    """The means of windows that cover (N, C, D, H, W) evenly; None in `output_size` keeps a dimension's size."""
    return _adaptive_avg_pool("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_max_pool(name, n, input, output_size, return_indices):
    pool = _native.adaptive_max_pool_with_indices if return_indices else _native.adaptive_max_pool
    result = pool(input, _adaptive_size(name, input, output_size, n))
    return tuple(result) if return_indices else result


def adaptive_max_pool1d_with_indices(input, output_size, return_indices=False):
    """:func:`adaptive_max_pool1d` and the positions of the maxima."""
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, True)


def adaptive_max_pool2d_with_indices(input, output_size, return_indices=False):
    """:func:`adaptive_max_pool2d` and the positions of the maxima."""
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, True)


@in_autocast("float32")
def adaptive_max_pool3d_with_indices(input, output_size, return_indices=False):
    """:func:`adaptive_max_pool3d` and the positions of the maxima."""
    return _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, True)


def adaptive_max_pool1d(input, output_size, return_indices=False):
    """The maxima of `output_size` windows that cover (N, C, L) evenly."""
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input, output_size, return_indices=False):
    """The maxima of windows that cover (N, C, H, W) evenly."""
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


@in_autocast("float32")
def adaptive_max_pool3d(input, output_size, return_indices=False):
    """The maxima of windows that cover (N, C, D, H, W) evenly."""
    return _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)
