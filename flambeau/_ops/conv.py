"""Convolutions. The transposed one is the gradient of the plain one with respect to its input, and so the other way
round; the gradient of the weights is an operator of its own, linear in the input and in the gradient."""

from .registry import op


def _output_padding(input_shape, grad_shape, weight_shape, stride, padding, dilation):
    """What the transposed convolution must add to give back the input's size: the rest of the division by the stride."""
    return [
        size - ((out - 1) * s - 2 * p + d * (k - 1) + 1)
        for size, out, k, s, p, d in zip(
            input_shape[2:], grad_shape[2:], weight_shape[2:], stride, padding, dilation, strict=True
        )
    ]


def _each(values, ndim):
    return list(values) * (ndim - 2) if len(values) == 1 else list(values)


def _cut(result, shape):
    """An output padding as large as the stride leaves room for windows that no input stood for."""
    for d in range(2, len(shape)):
        if result.size(d) > shape[d]:
            result = result.narrow(d, 0, shape[d])
    return result


def _conv_input(grad, weight, input_shape, stride, padding, dilation, transposed, groups):
    n = len(input_shape)
    stride, padding, dilation = (_each(v, n) for v in (stride, padding, dilation))
    if transposed:
        return _cut(
            _convolution(grad, weight, None, stride, padding, dilation, False, [0], groups), input_shape
        )
    extra = _output_padding(input_shape, grad.shape, weight.shape, stride, padding, dilation)
    return _convolution(grad, weight, None, stride, padding, dilation, True, extra, groups)


def _conv_weight(grad, input, weight_shape, stride, padding, dilation, transposed, groups):
    if transposed:
        input, grad = grad, input
    return _convolution_weight(input, grad, weight_shape, stride, padding, dilation, groups)


_convolution = op(
    "convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, bool transposed, "
    "int[] output_padding, int groups) -> Tensor",
    """Convolution of (N, C, ...) in one to three dimensions with a weight (out, C / groups, ...), or its transpose with a
    weight (C, out / groups, ...). Floating point; float16 and bfloat16 are summed in float32.

    >>> flambeau.convolution(flambeau.ones(1, 1, 4), flambeau.ones(1, 1, 3), None, [1], [0], [1], False, [0], 1)
    tensor([[[3., 3.]]])
    """,
    method=False,
    vjp={
        "input": _conv_input,
        "weight": _conv_weight,
        "bias": lambda grad: grad.sum([0, *range(2, grad.dim())]),
    },
)


def _weight_input(grad, grad_output, input_shape, stride, padding, dilation, groups):
    return _conv_input(grad_output, grad, input_shape, stride, padding, dilation, False, groups)


_convolution_weight = op(
    "_convolution_weight(Tensor input, Tensor grad_output, int[] weight_size, int[] stride, int[] padding, int[] dilation, "
    "int groups) -> Tensor",
    """Gradient of a convolution with respect to its weight.""",
    method=False,
    public=False,
    vjp={
        "input": _weight_input,
        "grad_output": lambda grad, input, grad_output_shape, stride, padding, dilation, groups: _cut(
            _convolution(input, grad, None, stride, padding, dilation, False, [0], groups), grad_output_shape
        ),
    },
)
