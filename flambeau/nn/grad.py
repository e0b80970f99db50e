"""Gradients of convolutions by name: with respect to the input, and to the weight."""

import flambeau

from . import functional as F

__all__ = [
    "conv1d_input",
    "conv1d_weight",
    "conv2d_input",
    "conv2d_weight",
    "conv3d_input",
    "conv3d_weight",
]


def _gradient(convolution, input, weight, of_input, grad_output, *options):
    """The gradient of a convolution, at zeros in the place of what it is taken by (it is linear in that)."""
    wanted = (input if of_input else weight).requires_grad_()
    with flambeau.enable_grad():
        output = convolution(input, weight, None, *options)
        if output.shape != grad_output.shape:
            raise RuntimeError(
                f"grad_output has shape {tuple(grad_output.shape)}, but the convolution gives {tuple(output.shape)}"
            )
        recorded = grad_output.requires_grad or (weight if of_input else input).requires_grad
        return flambeau.autograd.grad(output, wanted, grad_output, create_graph=recorded)[0]


def _make(n, convolution):
    def of_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
        zeros = grad_output.new_zeros(tuple(input_size))
        return _gradient(convolution, zeros, weight, True, grad_output, stride, padding, dilation, groups)

    def of_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
        zeros = grad_output.new_zeros(tuple(weight_size))
        return _gradient(convolution, input, zeros, False, grad_output, stride, padding, dilation, groups)

    what = f"Gradient of :func:`flambeau.nn.functional.conv{n}d` with respect to its"
    of_input.__doc__ = f"{what} input, of shape `input_size`."
    of_weight.__doc__ = f"{what} weight, of shape `weight_size`."
    for function, name in ((of_input, "input"), (of_weight, "weight")):
        function.__name__ = function.__qualname__ = f"conv{n}d_{name}"
    return of_input, of_weight


conv1d_input, conv1d_weight = _make(1, F.conv1d)
conv2d_input, conv2d_weight = _make(2, F.conv2d)
conv3d_input, conv3d_weight = _make(3, F.conv3d)
