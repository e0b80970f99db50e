"""Sums, differences, products, quotients, powers, and what is made of them."""

import flambeau

from .._dtypes_info import check_computing
from ._pointwise import binary, conj, unary, zero
from .registry import composite, op, takes

op(
    "add(Operand input, Operand other, *, Scalar alpha=1, Tensor? out=None) -> Tensor",
    """input + alpha * other, with broadcasting and type promotion.

    >>> flambeau.add(flambeau.ones(2), 3, alpha=2)
    tensor([7., 7.])
    """,
    inplace=True,
    older=("input, alpha, other",),
    vjp={
        "input": lambda grad: grad,
        "other": lambda grad, alpha: grad if alpha == 1 else grad * conj(alpha),
    },
)
op(
    "sub(Operand input, Operand other, *, Scalar alpha=1, Tensor? out=None) -> Tensor",
    """input - alpha * other, with broadcasting and type promotion.

    >>> flambeau.sub(flambeau.ones(2), 3)
    tensor([-2., -2.])
    """,
    inplace=True,
    older=("input, alpha, other",),
    aliases=("subtract",),
    vjp={
        "input": lambda grad: grad,
        "other": lambda grad, alpha: -grad if alpha == 1 else grad * -conj(alpha),
    },
)
binary(
    "mul",
    """Product of two tensors, or of a tensor and a number, element by element.

    >>> flambeau.mul(flambeau.ones(2), 3)
    tensor([3., 3.])
    """,
    operands="Operand input, Operand other",
    aliases=("multiply",),
    vjp={
        "input": lambda grad, other: grad * conj(other),
        "other": lambda grad, input: grad * conj(input),
    },
)


def _div_input(grad, other, rounding_mode):
    return grad / conj(other) if rounding_mode is None else zero(grad)


def _div_other(grad, input, other, rounding_mode):
    return -grad * conj(input / (other * other)) if rounding_mode is None else zero(grad)


op(
    "div(Operand input, Operand other, *, str? rounding_mode=None, Tensor? out=None) -> Tensor",
    """Quotient, element by element: exact (integers give floats), or rounded.

    rounding_mode: None, "trunc" (towards zero) or "floor". Rounded integers stay integers; dividing one by zero raises
    RuntimeError.

    >>> flambeau.div(flambeau.tensor([7, -7]), 2)
    tensor([ 3.5000, -3.5000])
    >>> flambeau.div(flambeau.tensor([7, -7]), 2, rounding_mode="floor")
    tensor([ 3, -4])
    """,
    inplace=True,
    aliases=("divide",),
    vjp={"input": _div_input, "other": _div_other},
)
binary(
    "true_divide",
    """Exact quotient; the same as :func:`div` without rounding.

    >>> flambeau.true_divide(flambeau.tensor([1, 2]), 4)
    tensor([0.2500, 0.5000])
    """,
    operands="Operand input, Operand other",
    kind="float",
    impl="div",
    vjp={
        "input": lambda grad, other: grad / conj(other),
        "other": lambda grad, input, other: -grad * conj(input / (other * other)),
    },
)
binary(
    "floor_divide",
    """Quotient rounded down, as Python's //.

    >>> flambeau.floor_divide(flambeau.tensor([7, -7]), 2)
    tensor([ 3, -4])
    """,
    operands="Operand input, Operand other",
    why_not="not written",
)
binary(
    "remainder",
    """Rest of the division rounded down: its sign is the divisor's, as Python's %.

    >>> flambeau.remainder(flambeau.tensor([7, -7]), 3)
    tensor([1, 2])
    """,
    operands="Operand input, Operand other",
    vjp={
        "input": lambda grad: grad,
        "other": lambda grad, input, other: -grad * flambeau.div(input, other, rounding_mode="floor"),
    },
)
binary(
    "fmod",
    """Rest of the division rounded towards zero: its sign is the dividend's.

    >>> flambeau.fmod(flambeau.tensor([7, -7]), 3)
    tensor([ 1, -1])
    """,
    operands="Tensor input, Operand other",
    vjp={
        "input": lambda grad: grad,
        "other": lambda grad, input, other: -grad * flambeau.div(input, other, rounding_mode="trunc"),
    },
)


def _pow_input(grad, input, exponent):
    if not isinstance(exponent, flambeau.Tensor):
        return zero(grad) if exponent == 0 else grad * conj(exponent * input ** (exponent - 1))
    slope = conj(exponent * input ** (exponent - 1))
    return flambeau.where(exponent == 0, 0, grad * slope)


def _pow_exponent(grad, input, exponent, result):
    if not isinstance(input, flambeau.Tensor):
        if input == 0:  # 0 ** x is constant, except that it jumps at 0
            real = not exponent.dtype.is_complex
            return (
                flambeau.where(exponent >= 0, 0, grad * conj(result * -float("inf"))) if real else zero(grad)
            )
        log = flambeau.scalar_tensor(input, dtype=result.dtype).log()
        return grad * conj(result * log)
    known = input == 0
    if not exponent.dtype.is_complex and not input.dtype.is_complex:
        known = known & (exponent >= 0)
    return flambeau.where(known, 0, grad * conj(result * input.log()))


op(
    "pow(Operand input, Operand exponent, *, Tensor? out=None) -> Tensor",
    """input raised to exponent, element by element; either may be a number.

    Integers stay integers, and to a negative number they raise RuntimeError.

    >>> flambeau.pow(flambeau.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    >>> flambeau.pow(2, flambeau.tensor([1, 2, 3]))
    tensor([2, 4, 8])
    """,
    inplace=True,
    vjp={"input": _pow_input, "exponent": _pow_exponent},
)


def _is_complex(x):
    return isinstance(x, complex) or (isinstance(x, flambeau.Tensor) and x.dtype.is_complex)


def _widest(x, dtype):
    return x.to(dtype) if isinstance(x, flambeau.Tensor) else x


@composite(method=True)
@takes("float_power(Operand input, Operand exponent, *, Tensor? out=None)")
def float_power(input, exponent, *, out=None):
    """input raised to exponent in float64 (complex128 if either is complex), whatever the dtypes.

    >>> flambeau.float_power(flambeau.tensor([2, 3]), -1)
    tensor([0.5000, 0.3333], dtype=torch.float64)
    """
    dtype = flambeau.complex128 if _is_complex(input) or _is_complex(exponent) else flambeau.float64
    if out is not None and out.dtype != dtype:
        raise RuntimeError(
            f"the output given to float_power has dtype {out.dtype} but the operation's result requires dtype {dtype}"
        )
    if not isinstance(input, flambeau.Tensor):
        if not isinstance(exponent, flambeau.Tensor):
            raise TypeError(
                f"float_power() received an invalid combination of arguments - got ({type(input).__name__}, "
                f"{type(exponent).__name__}), but expected a tensor as input or exponent"
            )
        input = flambeau.scalar_tensor(input, dtype=dtype)
    return flambeau.pow(_widest(input, dtype), _widest(exponent, dtype), out=out)


@composite(method=True, public=False)
def float_power_(input, exponent):
    """In-place form of `float_power`, for tensors of float64 or complex128."""
    dtype = flambeau.complex128 if _is_complex(input) or _is_complex(exponent) else flambeau.float64
    if input.dtype != dtype:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {input.dtype} but the operation's result requires dtype {dtype}"
        )
    return input.pow_(_widest(exponent, dtype))


@composite(method=True)
def rsub(input, other, *, alpha=1):
    """other - alpha * input.

    >>> flambeau.rsub(flambeau.ones(2), 3)
    tensor([2., 2.])
    """
    if not isinstance(input, flambeau.Tensor):
        raise TypeError(
            "rsub() received an invalid combination of arguments - got "
            f"({type(input).__name__}, {type(other).__name__}), but the first must be a Tensor"
        )
    return flambeau.sub(other, input, alpha=alpha)


op(
    "neg(Tensor input, *, Tensor? out=None) -> Tensor",
    """-input; bool tensors raise RuntimeError.

    >>> flambeau.neg(flambeau.ones(2))
    tensor([-1., -1.])
    """,
    inplace=True,
    aliases=("negative",),
    vjp={"input": lambda grad: -grad},
)


@composite(method=True)
@takes("positive(Tensor input)")
def positive(input):
    """input itself; bool tensors raise RuntimeError.

    >>> flambeau.positive(flambeau.ones(2))
    tensor([1., 1.])
    """
    if input.dtype == flambeau.bool:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


op(
    "abs(Tensor input, *, Tensor? out=None) -> Tensor",
    """Absolute value; of complex numbers, their real length.

    >>> flambeau.abs(flambeau.tensor([-1.5, 2.0]))
    tensor([1.5000, 2.0000])
    """,
    inplace=True,
    aliases=("absolute",),
    vjp={"input": lambda grad, input: grad * input.sgn()},
)
unary(
    "sign",
    """-1, 0 or 1 by the sign; NaN counts as 0.

    >>> flambeau.sign(flambeau.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  0.,  1.])
    """,
    zero,
    kind="same",
)


def _sgn(grad, input, result):
    if not input.dtype.is_complex:
        return zero(grad)
    length = input.abs()
    # Only the part across the direction of the number turns it.
    across = grad - result * (grad * conj(result)).real
    return flambeau.where(length == 0, 0, across / length)


unary(
    "sgn",
    """The sign of real numbers; of complex ones, the number of length 1 in the same direction (0 for 0).

    >>> flambeau.sgn(flambeau.tensor([3 + 4j, 0]))
    tensor([0.6000+0.8000j, 0.0000+0.0000j])
    """,
    _sgn,
    kind="same",
)
unary(
    "reciprocal",
    """1 / input; integers give floats.

    >>> flambeau.reciprocal(flambeau.tensor([2.0, 4.0]))
    tensor([0.5000, 0.2500])
    """,
    lambda grad, result: -grad * conj(result * result),
)


@composite(method=True)
@takes("square(Tensor input, *, Tensor? out=None)")
def square(input, *, out=None):
    """input * input.

    >>> flambeau.square(flambeau.tensor([-2.0, 3.0]))
    tensor([4., 9.])
    """
    return flambeau.pow(input, 2, out=out)


@composite(method=True)
@takes("square_(Tensor input)")
def square_(input):
    """In-place form of `square`."""
    return input.pow_(2)


binary(
    "gcd",
    """Greatest common divisor of integers; not negative.

    >>> flambeau.gcd(flambeau.tensor([4, -6]), flambeau.tensor([6, 9]))
    tensor([2, 3])
    """,
)
binary(
    "lcm",
    """Least common multiple of integers; not negative.

    >>> flambeau.lcm(flambeau.tensor([4, -6]), flambeau.tensor([6, 9]))
    tensor([12, 18])
    """,
)


def _power_of_two(input, other):
    """2 ** other, in input's dtype where `other` holds integers."""
    check_computing(input, "ldexp")
    power = flambeau.pow(2.0, other)
    floating = input.dtype.is_floating_point and not (other.dtype.is_floating_point or other.dtype.is_complex)
    return power.to(input.dtype) if floating else power


@composite(method=True)
@takes("ldexp(Tensor input, Tensor other, *, Tensor? out=None)")
def ldexp(input, other, *, out=None):
    """input * 2 ** other.

    >>> flambeau.ldexp(flambeau.tensor([1.0]), flambeau.tensor([3]))
    tensor([8.])
    """
    return flambeau.mul(input, _power_of_two(input, other), out=out)


@composite(method=True, public=False)
@takes("ldexp_(Tensor input, Tensor other)")
def ldexp_(input, other):
    """In-place form of `ldexp`."""
    return input.mul_(_power_of_two(input, other))


op(
    "frexp(Tensor input, *, Tensor? out=None) -> (Tensor mantissa, Tensor exponent)",
    """Splits floats into a mantissa in [0.5, 1) (with the sign) and an int32 power of two.

    >>> flambeau.frexp(flambeau.tensor([3.0])).exponent
    tensor([2], dtype=torch.int32)
    """,
    vjp={"input": lambda grad, exponent: grad / flambeau.pow(2.0, exponent)},
)


@composite(method=True, public=False)
def __rdiv__(self, other):
    """other / self, under the name that PyTorch keeps from Python 2."""
    return self.reciprocal() * other
