"""Pooling over one to three spatial dimensions, as many as the lists have entries.

Inputs are (C, *spatial) or (N, C, *spatial). `flambeau.nn.functional` gives these their public names.
"""

import flambeau

from .registry import op

_POOL = "Tensor input, int[] kernel_size, int[] stride, int[] padding, int[] dilation, bool ceil_mode"

_max_pool_backward = op(
    "_max_pool_backward(Tensor grad_output, Tensor indices, int[] input_size, int spatial) -> Tensor",
    "Zeros of the input's size with every gradient added at its maximum's place.",
    public=False,
    method=False,
    vjp={"grad_output": lambda grad, indices, spatial: _at_maxima(grad, indices, spatial), "indices": None},
)


def _at_maxima(values, indices, spatial):
    """The elements of `values` at positions in their flattened planes."""
    flat = values.flatten(-spatial).gather(-1, indices.flatten(-spatial))
    return flat.view(indices.shape)


max_pool_with_indices = op(
    f"_max_pool_with_indices({_POOL}) -> (Tensor output, Tensor indices)",
    "The largest element of every window, and its position in the flattened plane.",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, indices, input_shape, kernel_size: _max_pool_backward(
            grad, indices, input_shape, len(kernel_size)
        )
    },
)
_max_pool = op(
    f"_max_pool({_POOL}) -> Tensor",
    "`max_pool_with_indices` without the positions.",
    public=False,
    method=False,
    why_not="not written",
)
adaptive_max_pool_with_indices = op(
    "_adaptive_max_pool_with_indices(Tensor input, int[] output_size) -> (Tensor output, Tensor indices)",
    "The maxima of windows that cover the input evenly, and their positions in the flattened plane.",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, indices, input_shape, output_size: _max_pool_backward(
            grad, indices, input_shape, len(output_size)
        )
    },
)
_adaptive_max_pool = op(
    "_adaptive_max_pool(Tensor input, int[] output_size) -> Tensor",
    "`adaptive_max_pool_with_indices` without the positions.",
    public=False,
    method=False,
    why_not="not written",
)


def _needs_positions(input):
    return input.requires_grad and flambeau.is_grad_enabled()


def max_pool(input, kernel_size, stride, padding, dilation, ceil_mode):
    """The largest element of every window; positions are kept only where a gradient will need them."""
    if _needs_positions(input):
        return max_pool_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)[0]
    return _max_pool(input, kernel_size, stride, padding, dilation, ceil_mode)


def adaptive_max_pool(input, output_size):
    """The maxima of windows that cover the input evenly."""
    if _needs_positions(input):
        return adaptive_max_pool_with_indices(input, output_size)[0]
    return _adaptive_max_pool(input, output_size)


_MEAN = "int[] kernel_size, int[] stride, int[] padding, bool ceil_mode, bool count_include_pad, int? divisor_override"

_avg_pool_backward = op(
    f"_avg_pool_backward(Tensor grad_output, int[] input_size, {_MEAN}) -> Tensor",
    "Spreads the gradient of every window's mean over its elements.",
    public=False,
    method=False,
    vjp={
        "grad_output": lambda grad, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: (
            avg_pool(grad, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        )
    },
)
avg_pool = op(
    f"_avg_pool(Tensor input, {_MEAN}, *, Tensor? out=None) -> Tensor",
    "The mean of every window.",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override: (
            _avg_pool_backward(
                grad,
                input_shape,
                kernel_size,
                stride,
                padding,
                ceil_mode,
                count_include_pad,
                divisor_override,
            )
        )
    },
)
_adaptive_avg_pool_backward = op(
    "_adaptive_avg_pool_backward(Tensor grad_output, int[] input_size, int[] output_size) -> Tensor",
    "Spreads the gradient of every window's mean over its elements.",
    public=False,
    method=False,
    vjp={"grad_output": lambda grad, output_size: adaptive_avg_pool(grad, output_size)},
)
adaptive_avg_pool = op(
    "_adaptive_avg_pool(Tensor input, int[] output_size) -> Tensor",
    "The means of windows that cover the input evenly.",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, input_shape, output_size: _adaptive_avg_pool_backward(
            grad, input_shape, output_size
        )
    },
)
fractional_max_pool_with_indices = op(
    "_fractional_max_pool(Tensor input, int[] kernel_size, int[] output_size, Tensor samples)"
    " -> (Tensor output, Tensor indices)",
    """The largest element of windows at random places, and its position in the flattened plane.

    samples: (N, C, dimensions), draws between 0 and 1 of the input's dtype; they settle where the windows lie.
    """,
    public=False,
    method=False,
    vjp={
        "input": lambda grad, indices, input_shape, output_size: _max_pool_backward(
            grad, indices, input_shape, len(output_size)
        ),
        "samples": None,
    },
)
