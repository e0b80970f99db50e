"""Pooling.

A mean is separable: a product with one band matrix per dimension. A maximum looks at windows gathered with one table of
positions per dimension. Both serve every number of dimensions.
"""

import flambeau

from ._functional_common import ntuple, sizes_per_dim


def _check_input(name, input, n):
    if input.dim() not in (n + 1, n + 2) or 0 in input.shape[-n - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, "
            f"but got: {list(input.shape)}"
        )


def _settings(name, n, kernel_size, stride, padding, dilation):
    kernel = sizes_per_dim(kernel_size, n, "kernel_size", name)
    stride = kernel if stride is None or (isinstance(stride, (tuple, list)) and not stride) else stride
    stride = sizes_per_dim(stride, n, "stride", name)
    padding = sizes_per_dim(padding, n, "padding", name)
    dilation = sizes_per_dim(dilation, n, "dilation", name)
    if min(kernel) <= 0:
        raise RuntimeError(
            f"{name}: kernel size should be greater than zero, but got kernel_size: {list(kernel)}"
        )
    if min(stride) <= 0:
        raise RuntimeError(f"{name}: stride should not be zero, but got stride: {list(stride)}")
    if min(dilation) <= 0:
        raise RuntimeError(
            f"{name}: dilation should be greater than zero, but got dilation: {list(dilation)}"
        )
    if min(padding) < 0:
        raise RuntimeError(f"{name}: pad must be non-negative, but got pad: {list(padding)}")
    if any(2 * p > (k - 1) * d + 1 for p, k, d in zip(padding, kernel, dilation, strict=True)):
        raise RuntimeError(
            f"{name}: pad should be at most half of effective kernel size, but got pad={list(padding)}, "
            f"kernel_size={list(kernel)} and dilation={list(dilation)}"
        )
    return kernel, stride, padding, dilation


def _output_size(size, kernel, stride, padding, dilation, ceil_mode):
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (span + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # the last window would start beyond the input
    return count


def _output_sizes(name, input, settings, ceil_mode):
    sizes = input.shape[-len(settings[0]) :]
    out = [_output_size(*values, ceil_mode) for values in zip(sizes, *settings, strict=True)]
    if min(out) < 1:
        raise RuntimeError(
            f"{name}: Given input size: {tuple(input.shape[-len(out) - 1 :])}. Calculated output size: "
            f"{(input.shape[-len(out) - 1], *out)}. Output size is too small"
        )
    return out


# --- windows from position tables ----------------------------------------------------------------------------------


def _gather_windows(input, tables):
    """The elements at the positions of `tables`, one (out, k) table per dimension: (*, out..., k0 * k1 * ...)."""
    n = len(tables)
    lead = input.shape[:-n]
    for step, table in enumerate(tables):
        dim = len(lead) + 2 * step
        input = input.index_select(dim, table.reshape(-1)).unflatten(dim, table.shape)
    first = len(lead)
    order = [*range(first), *range(first, first + 2 * n, 2), *range(first + 1, first + 2 * n, 2)]
    return input.permute(order).flatten(first + n)


def _max_over_windows(input, tables):
    """Largest element of every window, and its position in the flattened spatial dimensions."""
    n = len(tables)
    values, local = _gather_windows(input, tables).max(-1)
    index = flambeau.zeros_like(local)
    for step in range(n - 1, -1, -1):
        k = tables[step].size(1)
        offset = local % k
        local = flambeau.div(local, k, rounding_mode="floor")
        # Position along this dimension, looked up by output coordinate and offset within the window.
        rows = flambeau.arange(tables[step].size(0), device=input.device).reshape(-1, *(1,) * (n - 1 - step))
        position = tables[step][rows.expand_as(offset), offset]
        scale = 1
        for later in range(step + 1, n):
            scale *= input.shape[later - n]
        index = index + position * scale
    return values, index


def _sliding_tables(input, out, settings):
    """Tables of regular windows; positions in the padding are replaced by the window's nearest inner one."""
    tables = []
    n = len(out)
    for step, (count, k, s, p, d) in enumerate(zip(out, *settings, strict=True)):
        size = input.shape[step - n]
        start = flambeau.arange(count, device=input.device).unsqueeze(1) * s - p
        position = start + flambeau.arange(k, device=input.device) * d
        first = start + flambeau.div(-start.clamp(max=0) + d - 1, d, rounding_mode="floor") * d
        last = start + flambeau.div((size - 1 - start).clamp(max=(k - 1) * d), d, rounding_mode="floor") * d
        tables.append(flambeau.minimum(flambeau.maximum(position, first), last))
    return tables


def _adaptive_bounds(size, out, device):
    steps = flambeau.arange(out, device=device)
    start = flambeau.div(steps * size, out, rounding_mode="floor")
    end = flambeau.div((steps + 1) * size + out - 1, out, rounding_mode="floor")
    return start, end


def _adaptive_tables(input, out):
    tables = []
    for step, count in enumerate(out):
        start, end = _adaptive_bounds(input.shape[step - len(out)], count, input.device)
        longest = int((end - start).max()) if count else 1
        position = start.unsqueeze(1) + flambeau.arange(longest, device=input.device)
        tables.append(flambeau.minimum(position, (end - 1).unsqueeze(1)))
    return tables


# --- max pooling -----------------------------------------------------------------------------------------------------


def _max_pool(name, n, input, kernel_size, stride, padding, dilation, ceil_mode):
    _check_input(name, input, n)
    settings = _settings(name, n, kernel_size, stride, padding, dilation)
    out = _output_sizes(name, input, settings, ceil_mode)
    return _max_over_windows(input, _sliding_tables(input, out, settings))


def max_pool1d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """:func:`max_pool1d` and the positions of the maxima."""
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """:func:`max_pool2d` and the positions of the maxima in the flattened plane."""
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool3d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """:func:`max_pool3d` and the positions of the maxima in the flattened volume."""
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest element of every window of (N, C, L) or (C, L); `stride` defaults to `kernel_size`."""
    result = _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode)
    return result if return_indices else result[0]


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest element of every window of (N, C, H, W) or (C, H, W); `stride` defaults to `kernel_size`.

    >>> F.max_pool2d(flambeau.arange(4.0).reshape(1, 2, 2), 2)
    tensor([[[3.]]])
    """
    result = _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode)
    return result if return_indices else result[0]


def max_pool3d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest element of every window of (N, C, D, H, W) or (C, D, H, W)."""
    result = _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode)
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
    if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= area):
        raise RuntimeError(f"{name}: found an invalid max index (output volumes are of size {size})")
    flat = input.new_zeros((*lead, area)).scatter(-1, indices.flatten(-n), input.flatten(-n))
    return flat.unflatten(-1, size)


def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put the maxima of :func:`max_pool1d` back at their positions, with zeros elsewhere."""
    return _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put the maxima of :func:`max_pool2d` back at their positions, with zeros elsewhere."""
    return _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put the maxima of :func:`max_pool3d` back at their positions, with zeros elsewhere."""
    return _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


# --- average pooling -------------------------------------------------------------------------------------------------


def _avg_pool(name, n, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    _check_input(name, input, n)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    settings = _settings(name, n, kernel_size, stride, padding, 1)
    out = _output_sizes(name, input, settings, ceil_mode)
    # The mean is separable: sum along one dimension after the other.
    divisor = 1
    for step, (count, k, s, p, _) in enumerate(zip(out, *settings, strict=True)):
        dim = input.dim() - n + step
        size = input.size(dim)
        start = flambeau.arange(count, device=input.device) * s - p
        end = (start + k).clamp(max=size + p)
        inside = end.clamp(max=size) - start.clamp(min=0)
        if divisor_override is None:
            extent = end - start if count_include_pad else inside
            divisor = divisor * extent.to(input.dtype).reshape(-1, *(1,) * (n - 1 - step))
        input = flambeau.matmul(input.transpose(dim, -1), _band(start, end, size, input).t()).transpose(
            dim, -1
        )
    return input / (divisor if divisor_override is None else divisor_override)


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of every window of (N, C, L) or (C, L)."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """The mean of every window of (N, C, H, W) or (C, H, W); `stride` defaults to `kernel_size`.

    Args:
        count_include_pad: zeros of the padding count as elements. Default: True.
        divisor_override: divide the sums by this instead of the number of elements.
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """The mean of every window of (N, C, D, H, W) or (C, D, H, W)."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _band(start, end, size, like):
    """(out, size) matrix with ones where start <= column < end: summing windows is a product with it."""
    column = flambeau.arange(size, device=like.device)
    return ((column >= start.unsqueeze(1)) & (column < end.unsqueeze(1))).to(like.dtype)


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
    _check_input(name, input, n)
    size = ntuple(output_size, n) if output_size is not None else (None,) * n
    if len(size) != n:
        raise RuntimeError(f"{name}: output_size must be {n}, but got {list(size)}")
    size = [
        current if wanted is None else wanted for wanted, current in zip(size, input.shape[-n:], strict=True)
    ]
    if min(size) < 0:
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received {size}"
        )
    return size


def _adaptive_avg_pool(name, n, input, output_size):
    for step, count in enumerate(_adaptive_size(name, input, output_size, n)):
        dim = input.dim() - n + step
        start, end = _adaptive_bounds(input.size(dim), count, input.device)
        weights = _band(start, end, input.size(dim), input) / (end - start).to(input.dtype).unsqueeze(1)
        input = flambeau.matmul(input.transpose(dim, -1), weights.t()).transpose(dim, -1)
    return input.contiguous()


def adaptive_avg_pool1d(input, output_size):
    """The means of `output_size` windows that cover (N, C, L) evenly."""
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input, output_size):
    """The means of windows that cover (N, C, H, W) evenly; None in `output_size` keeps a dimension's size."""
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input, output_size):
    """The means of windows that cover (N, C, D, H, W) evenly; None in `output_size` keeps a dimension's size."""
    return _adaptive_avg_pool("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_max_pool(name, n, input, output_size):
    return _max_over_windows(input, _adaptive_tables(input, _adaptive_size(name, input, output_size, n)))


def adaptive_max_pool1d_with_indices(input, output_size, return_indices=False):
    """:func:`adaptive_max_pool1d` and the positions of the maxima."""
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size)


def adaptive_max_pool2d_with_indices(input, output_size, return_indices=False):
    """:func:`adaptive_max_pool2d` and the positions of the maxima."""
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size)


def adaptive_max_pool3d_with_indices(input, output_size, return_indices=False):
    """:func:`adaptive_max_pool3d` and the positions of the maxima."""
    return _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size)


def adaptive_max_pool1d(input, output_size, return_indices=False):
    """The maxima of `output_size` windows that cover (N, C, L) evenly."""
    result = _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size)
    return result if return_indices else result[0]


def adaptive_max_pool2d(input, output_size, return_indices=False):
    """The maxima of windows that cover (N, C, H, W) evenly."""
    result = _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size)
    return result if return_indices else result[0]


def adaptive_max_pool3d(input, output_size, return_indices=False):
    """The maxima of windows that cover (N, C, D, H, W) evenly."""
    result = _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size)
    return result if return_indices else result[0]
