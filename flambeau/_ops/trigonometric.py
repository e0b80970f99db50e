"""Circular and hyperbolic functions, and their inverses."""

import math

import flambeau

from ._pointwise import binary, conj, unary
from .activation import tanh_backward

unary(
    "sin",
    """Sine of an angle in radians.

    >>> flambeau.sin(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4794])
    """,
    lambda grad, input: grad * conj(input.cos()),
)
unary(
    "cos",
    """Cosine of an angle in radians.

    >>> flambeau.cos(flambeau.tensor([0.0, 0.5]))
    tensor([1.0000, 0.8776])
    """,
    lambda grad, input: -grad * conj(input.sin()),
)
unary(
    "tan",
    """Tangent of an angle in radians.

    >>> flambeau.tan(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5463])
    """,
    lambda grad, result: grad * conj(result * result + 1),
)
unary(
    "asin",
    """The angle whose sine is each element.

    >>> flambeau.asin(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5236])
    """,
    lambda grad, input: grad * conj((1 - input * input).rsqrt()),
    aliases=("arcsin",),
)
unary(
    "acos",
    """The angle whose cosine is each element.

    >>> flambeau.acos(flambeau.tensor([0.0, 0.5]))
    tensor([1.5708, 1.0472])
    """,
    lambda grad, input: -grad * conj((1 - input * input).rsqrt()),
    aliases=("arccos",),
)
unary(
    "atan",
    """The angle whose tangent is each element.

    >>> flambeau.atan(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4636])
    """,
    lambda grad, input: grad / conj(input * input + 1),
    aliases=("arctan",),
)
binary(
    "atan2",
    """The angle of the point (other, input), in (-pi, pi].

    >>> flambeau.atan2(flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, 1.0]))
    tensor([0.3218, 1.1071])
    """,
    {
        "input": lambda grad, input, other: grad * (other / (input * input + other * other)),
        "other": lambda grad, input, other: -grad * (input / (input * input + other * other)),
    },
    kind="float",
    aliases=("arctan2",),
)
unary(
    "sinh",
    """Hyperbolic sine.

    >>> flambeau.sinh(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5211])
    """,
    lambda grad, input: grad * conj(input.cosh()),
)
unary(
    "cosh",
    """Hyperbolic cosine.

    >>> flambeau.cosh(flambeau.tensor([0.0, 0.5]))
    tensor([1.0000, 1.1276])
    """,
    lambda grad, input: grad * conj(input.sinh()),
)


def _tanh(grad, result):
    return grad * conj(1 - result * result) if result.dtype.is_complex else tanh_backward(grad, result)


unary(
    "tanh",
    """Hyperbolic tangent.

    >>> flambeau.tanh(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4621])
    """,
    _tanh,
)
unary(
    "asinh",
    """Inverse hyperbolic sine.

    >>> flambeau.asinh(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4812])
    """,
    lambda grad, input: grad * conj((input * input + 1).rsqrt()),
    aliases=("arcsinh",),
)


def _acosh(grad, input):
    if input.dtype.is_complex:
        return grad * conj((input - 1).rsqrt() * (input + 1).rsqrt())
    return grad * (input * input - 1).rsqrt()


unary(
    "acosh",
    """Inverse hyperbolic cosine, for elements of at least 1.

    >>> flambeau.acosh(flambeau.tensor([1.0, 2.0]))
    tensor([0.0000, 1.3170])
    """,
    _acosh,
    aliases=("arccosh",),
)
unary(
    "atanh",
    """Inverse hyperbolic tangent.

    >>> flambeau.atanh(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5493])
    """,
    lambda grad, input: grad / conj(1 - input * input),
    aliases=("arctanh",),
)


def _sinc(grad, input):
    x = input * math.pi
    slope = (x * x.cos() - x.sin()) / (x * input)
    return grad * conj(flambeau.where(input == 0, 0, slope))


unary(
    "sinc",
    """sin(pi input) / (pi input), and 1 at 0.

    >>> flambeau.sinc(flambeau.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """,
    _sinc,
)
unary(
    "deg2rad",
    """Degrees as radians.

    >>> flambeau.deg2rad(flambeau.tensor([180.0]))
    tensor([3.1416])
    """,
    lambda grad: grad * (math.pi / 180),
)
unary(
    "rad2deg",
    """Radians as degrees.

    >>> flambeau.rad2deg(flambeau.tensor([3.0]))
    tensor([171.8873])
    """,
    lambda grad: grad * (180 / math.pi),
)
