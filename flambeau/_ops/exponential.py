"""Exponentials, logarithms, roots, and what is built from them."""

import math

import flambeau

from ._pointwise import binary, conj, unary
from .activation import sigmoid_backward
from .registry import op

_LN2, _LN10 = math.log(2), math.log(10)

unary(
    "exp",
    """e to the power of each element.

    >>> flambeau.exp(flambeau.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """,
    lambda grad, result: grad * conj(result),
)
unary(
    "exp2",
    """2 to the power of each element.

    >>> flambeau.exp2(flambeau.tensor([0.0, 3.0]))
    tensor([1., 8.])
    """,
    lambda grad, result: grad * conj(result) * _LN2,
)
unary(
    "expm1",
    """exp(input) - 1, accurate near 0.

    >>> flambeau.expm1(flambeau.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """,
    lambda grad, result: grad * conj(result + 1),
)
unary(
    "log",
    """Natural logarithm.

    >>> flambeau.log(flambeau.tensor([1.0, 2.0]))
    tensor([0.0000, 0.6931])
    """,
    lambda grad, input: grad / conj(input),
)
unary(
    "log2",
    """Logarithm in base 2.

    >>> flambeau.log2(flambeau.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """,
    lambda grad, input: grad / conj(input * _LN2),
)
unary(
    "log10",
    """Logarithm in base 10.

    >>> flambeau.log10(flambeau.tensor([1.0, 1000.0]))
    tensor([0., 3.])
    """,
    lambda grad, input: grad / conj(input * _LN10),
)
unary(
    "log1p",
    """log(1 + input), accurate near 0.

    >>> flambeau.log1p(flambeau.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """,
    lambda grad, input: grad / conj(input + 1),
)
unary(
    "sqrt",
    """Square root.

    >>> flambeau.sqrt(flambeau.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """,
    lambda grad, result: grad / (2 * conj(result)),
)
unary(
    "rsqrt",
    """1 / sqrt(input).

    >>> flambeau.rsqrt(flambeau.tensor([4.0, 16.0]))
    tensor([0.5000, 0.2500])
    """,
    lambda grad, result: -0.5 * grad * conj(result**3),
)


def _sigmoid(grad, result):
    if result.dtype.is_complex:
        return grad * conj((1 - result) * result)
    return sigmoid_backward(grad, result)


unary(
    "sigmoid",
    """1 / (1 + exp(-input)).

    >>> flambeau.sigmoid(flambeau.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """,
    _sigmoid,
)


def _logit(grad, input, eps):
    slope = grad / (input * (1 - input))
    outside = (input < 0) | (input > 1) if eps is None else (input < eps) | (input > 1 - eps)
    return flambeau.where(outside, float("nan") if eps is None else 0.0, slope)


op(
    "logit(Tensor input, float? eps=None, *, Tensor? out=None) -> Tensor",
    """log(input / (1 - input)), the inverse of sigmoid; with eps, input is first limited to [eps, 1 - eps].

    >>> flambeau.logit(flambeau.tensor([0.5, 0.9]))
    tensor([0.0000, 2.1972])
    """,
    inplace=True,
    vjp={"input": _logit},
)


def _share(input, other):
    """exp(input) / (exp(input) + exp(other)), infinities included."""
    if input.is_complex():
        return conj((input - flambeau.logaddexp(input, other)).exp())
    return (input - other).sigmoid()


binary(
    "logaddexp",
    """log(exp(input) + exp(other)), without overflow.

    >>> flambeau.logaddexp(flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, 1.0]))
    tensor([3.1269, 2.3133])
    """,
    {
        "input": lambda grad, input, other: grad * _share(input, other),
        "other": lambda grad, input, other: grad * _share(other, input),
    },
    inplace=False,
)
binary(
    "logaddexp2",
    """log2(2 ** input + 2 ** other), without overflow.

    >>> flambeau.logaddexp2(flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, 1.0]))
    tensor([3.3219, 2.5850])
    """,
    {
        "input": lambda grad, input, other: grad * _share(input * math.log(2), other * math.log(2)),
        "other": lambda grad, input, other: grad * _share(other * math.log(2), input * math.log(2)),
    },
    inplace=False,
)


def _xlogy_input(grad, input, other):
    none = input == 0
    none = none & (other <= 0) if isinstance(input, flambeau.Tensor) and input.is_floating_point() else none
    log = other.log() if isinstance(other, flambeau.Tensor) else flambeau.scalar_tensor(other).log()
    return flambeau.where(none, 0, grad * log)


def _xlog1py_input(grad, input, other):
    log = other.log1p() if isinstance(other, flambeau.Tensor) else flambeau.scalar_tensor(other).log1p()
    return flambeau.where((input == 0) & (other <= -1), 0, grad * log)


binary(
    "xlogy",
    """input * log(other), and 0 wherever input is 0.

    >>> flambeau.xlogy(flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, 1.0]))
    tensor([1.0986, 0.0000])
    """,
    {"input": _xlogy_input, "other": lambda grad, input, other: grad * input / other},
    kind="float",
    operands="Operand input, Operand other",
)
binary(
    "special_xlog1py",
    """input * log(1 + other), and 0 wherever input is 0.

    >>> flambeau.special.xlog1py(flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, 1.0]))
    tensor([1.3863, 1.3863])
    """,
    {"input": _xlog1py_input, "other": lambda grad, input, other: grad * input / (other + 1)},
    kind="float",
    operands="Operand input, Operand other",
    inplace=False,
    method=False,
    public=False,
)
binary(
    "hypot",
    """sqrt(input ** 2 + other ** 2), without overflow.

    >>> flambeau.hypot(flambeau.tensor([3.0]), flambeau.tensor([4.0]))
    tensor([5.])
    """,
    {
        "input": lambda grad, input, result: grad * (input / result),
        "other": lambda grad, other, result: grad * (other / result),
    },
)
