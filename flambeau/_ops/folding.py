"""Windows of images as columns of a matrix, and back: each is the gradient of the other."""

from .registry import op

_WINDOWS = "int[] kernel_size, int[] dilation, int[] padding, int[] stride"

fold = op(
    f"_fold(Tensor input, int[] output_size, {_WINDOWS}) -> Tensor",
    "Columns (N, C * kH * kW, windows) added up in an image (N, C, H, W) where their windows lie.",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, kernel_size, dilation, padding, stride: unfold(
            grad, kernel_size, dilation, padding, stride
        )
    },
)
unfold = op(
    f"_unfold(Tensor input, {_WINDOWS}) -> Tensor",
    "The windows of an image (N, C, H, W) as columns (N, C * kH * kW, windows); padding counts as zeros.",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, input_shape, kernel_size, dilation, padding, stride: fold(
            grad, input_shape[2:], kernel_size, dilation, padding, stride
        )
    },
)
