"""Rearranging channels and pixels, and resizing.

Resizing is separable: along every dimension it is a product with one matrix of weights, which is also its derivative.
"""

import math
import warnings

import flambeau

from ._functional_pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d


def pixel_shuffle(input, upscale_factor):
    """Move channels into space: (\\*, C * r * r, H, W) to (\\*, C, H * r, W * r)."""
    r = upscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={c} is not divisible by {r * r}"
        )
    if r == 1:
        return input.clone()
    n = len(lead)
    split = input.reshape(*lead, c // (r * r), r, r, h, w)
    return split.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2).reshape(*lead, c // (r * r), h * r, w * r)


def pixel_unshuffle(input, downscale_factor):
    """The reverse of :func:`pixel_shuffle`: (\\*, C, H * r, W * r) to (\\*, C * r * r, H, W)."""
    r = downscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, c, h, w = input.shape
    for name, size in (("height", h), ("width", w)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but {size} is not divisible by {r}"
            )
    if r == 1:
        return input.clone()
    n = len(lead)
    split = input.reshape(*lead, c, h // r, r, w // r, r)
    return split.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3).reshape(*lead, c * r * r, h // r, w // r)


def channel_shuffle(input, groups):
    """Cut the channels (dimension 1) in `groups` parts and interleave these."""
    if input.dim() < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    n, c = input.shape[:2]
    if c % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
        )
    return input.reshape(n, groups, c // groups, *input.shape[2:]).transpose(1, 2).reshape(input.shape)


native_channel_shuffle = channel_shuffle


# --- resizing ----------------------------------------------------------------------------------------------------------

# mode: number of spatial dimensions (None: any of 1, 2, 3)
_MODES = {
    "nearest": None,
    "nearest-exact": None,
    "area": None,
    "linear": 1,
    "bilinear": 2,
    "bicubic": 2,
    "trilinear": 3,
}


def _source_positions(size, out, scale, align_corners, cubic):
    """Where each output element lies in the input, in float64."""
    steps = flambeau.arange(out, dtype=flambeau.float64)
    if align_corners:
        return steps * ((size - 1) / (out - 1) if out > 1 else 0.0)
    position = (steps + 0.5) * (1.0 / scale if scale is not None else size / out) - 0.5
    return position if cubic else position.clamp(min=0)


def _cubic(distance, a):
    """Keys' cubic convolution kernel."""
    d = distance.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return flambeau.where(d <= 1, near, flambeau.where(d < 2, far, flambeau.zeros_like(d)))


def _weights(size, out, scale, align_corners, cubic):
    """(out, size): how much of each input element an output element takes."""
    position = _source_positions(size, out, scale, align_corners, cubic)
    floor = position.floor()
    matrix = flambeau.zeros((out, size), dtype=flambeau.float64)
    for offset in (-1, 0, 1, 2) if cubic else (0, 1):
        distance = position - (floor + offset)
        weight = _cubic(distance, -0.75) if cubic else (1 - distance.abs()).clamp(min=0)
        index = (floor + offset).clamp(0, size - 1).to(flambeau.int64)
        matrix.scatter_add_(1, index.unsqueeze(1), weight.unsqueeze(1))
    return matrix


def _antialiased_weights(size, out, scale, align_corners, cubic):
    """As `_weights`, with a kernel that widens when the image shrinks, as in Pillow."""
    if align_corners:
        ratio = (size - 1) / (out - 1) if out > 1 else 0.0
    else:
        ratio = 1.0 / scale if scale is not None else size / out
    stretch = max(ratio, 1.0)
    support = (2.0 if cubic else 1.0) * stretch
    matrix = flambeau.zeros((out, size), dtype=flambeau.float64)
    for i in range(out):
        centre = ratio * (i + 0.5)
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), size)
        distance = (flambeau.arange(first, last, dtype=flambeau.float64) - centre + 0.5) / stretch
        weight = _cubic(distance, -0.5) if cubic else (1 - distance.abs()).clamp(min=0)
        matrix[i, first:last] = weight / weight.sum()
    return matrix


def _nearest_index(size, out, scale, exact):
    ratio = 1.0 / scale if scale is not None else size / out
    position = (flambeau.arange(out, dtype=flambeau.float32) + (0.5 if exact else 0.0)) * ratio
    return position.floor().to(flambeau.int64).clamp(max=size - 1)


def interpolate(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """Resize (N, C, ...) to `size`, or by `scale_factor`.

    Args:
        mode: 'nearest' (default), 'nearest-exact', 'area', 'linear' (3D input), 'bilinear', 'bicubic' (4D) or
            'trilinear' (5D).
        align_corners: the corner elements keep their values. Default: False; interpolating modes only.
        recompute_scale_factor: use the ratio of the sizes instead of `scale_factor`.
        antialias: average over all elements when shrinking ('bilinear' and 'bicubic'). Default: False.
    """
    n = input.dim() - 2
    if mode in ("nearest", "nearest-exact", "area"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
            )
    elif align_corners is None:
        align_corners = False
    if mode not in _MODES or n not in (1, 2, 3) or _MODES[mode] not in (None, n):
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | area | nearest-exact (got {mode})"
        )
    out, scales = _output_size(input, n, size, scale_factor, recompute_scale_factor)
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input"
        )
    if min(out) <= 0:
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {tuple(input.shape)} and output {tuple(out)}"
        )
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1](input, out)
    for i in range(n):
        dim = 2 + i
        current = input.size(dim)
        if mode.startswith("nearest"):
            index = _nearest_index(current, out[i], scales[i], mode == "nearest-exact")
            input = input.index_select(dim, index.to(input.device))
        elif not (current == out[i] and scales[i] is None):
            make = _antialiased_weights if antialias else _weights
            matrix = make(current, out[i], scales[i], align_corners, mode == "bicubic")
            matrix = matrix.to(dtype=input.dtype, device=input.device)
            input = flambeau.matmul(input.transpose(dim, -1), matrix.t()).transpose(dim, -1)
    return input.contiguous()


def _output_size(input, n, size, scale_factor, recompute):
    """Output sizes, and the scale factors that the positions follow (None: the ratio of the sizes)."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        if isinstance(size, (list, tuple)):
            if len(size) != n:
                raise ValueError(
                    "Input and output must have the same number of spatial dimensions, but got input with spatial "
                    f"dimensions of {list(input.shape[2:])} and output size of {size}."
                )
            return list(size), [None] * n
        return [size] * n, [None] * n
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != n:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(input.shape[2:])} and scale_factor of shape {scale_factor}."
            )
        scales = [float(scale) for scale in scale_factor]
    else:
        scales = [float(scale_factor)] * n
    out = [math.floor(input.size(2 + i) * scales[i]) for i in range(n)]
    return out, [None] * n if recompute else scales


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """Older name of :func:`interpolate`."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """:func:`interpolate` with mode 'nearest'."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input, size=None, scale_factor=None):
    """:func:`interpolate` with mode 'bilinear' and aligned corners."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
