"""Resizing of (N, C, *spatial) along one to three spatial dimensions, as many as the lists have entries.

`flambeau.nn.functional.interpolate` gives it its public name. Resizing is linear: its gradient is resizing with the
transposed weights, and the gradient of that is resizing again.
"""

from .registry import op

_HOW = "str mode, bool align_corners, bool antialias, float[] scales"

_resize_backward = op(
    f"_resize_backward(Tensor grad_output, int[] input_size, {_HOW}) -> Tensor",
    "The gradient of `_resize`: every input gets what the outputs took from it.",
    public=False,
    method=False,
    vjp={
        "grad_output": lambda grad, grad_output_shape, mode, align_corners, antialias, scales: resize(
            grad, grad_output_shape[2:], mode, align_corners, antialias, scales
        )
    },
)
resize = op(
    f"_resize(Tensor input, int[] output_size, {_HOW}) -> Tensor",
    """Every output as a weighted sum of the inputs near its place; the result keeps a channels_last layout.

    mode: 'nearest', 'nearest-exact', 'linear', 'cubic' (Keys' kernel) or, with `antialias`, 'lanczos'.
    antialias: widen the kernel where the input shrinks, as in Pillow.
    scales: the factors that places follow, 0 where the ratio of the sizes is meant.
    """,
    public=False,
    method=False,
    vjp={
        "input": lambda grad, input_shape, mode, align_corners, antialias, scales: _resize_backward(
            grad, input_shape, mode, align_corners, antialias, scales
        )
    },
)
