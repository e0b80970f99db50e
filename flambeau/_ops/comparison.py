"""Comparisons, tests of elements, the larger and smaller of two, limits."""

import flambeau

from ._pointwise import binary, predicate, unary
from .registry import composite, op, takes

_COMPARISONS = {
    "eq": ("input == other", (), "[False,  True, False]"),
    "ne": ("input != other", ("not_equal",), "[ True, False,  True]"),
    "lt": ("input < other", ("less",), "[ True, False, False]"),
    "le": ("input <= other", ("less_equal",), "[ True,  True, False]"),
    "gt": ("input > other", ("greater",), "[False, False,  True]"),
    "ge": ("input >= other", ("greater_equal",), "[False,  True,  True]"),
}
for _name, (_formula, _aliases, _shown) in _COMPARISONS.items():
    binary(
        _name,
        f"""{_formula}, element by element, as bool; `other` may be a number.

    >>> flambeau.{_name}(flambeau.tensor([1, 2, 3]), 2)
    tensor({_shown})
    """,
        kind="bool",
        operands="Tensor input, Operand other",
        aliases=_aliases,
    )


@composite(method=True)
@takes("equal(Tensor input, Tensor other)")
def equal(input, other):
    """Whether two tensors have the same shape and the same elements, as a bool.

    >>> flambeau.equal(flambeau.tensor([1, 2]), flambeau.tensor([1, 2]))
    True
    """
    return input.shape == other.shape and bool((input == other).all())


@composite(method=True)
@takes(
    "isclose(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)",
)
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether |input - other| <= atol + rtol * |other|, element by element.

    Equal infinities are close; NaN only to NaN, and only with equal_nan.

    >>> flambeau.isclose(flambeau.tensor([1.0, 2.0]), flambeau.tensor([1.0, 2.1]))
    tensor([ True, False])
    """
    if input.dtype != other.dtype:
        names = [t.type().removeprefix("torch.").removesuffix("Tensor") for t in (input, other)]
        raise RuntimeError(f"{names[0]} did not match {names[1]}")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {tolerance}")
    close = input == other
    dtype = input.dtype
    if equal_nan and (dtype.is_floating_point or dtype.is_complex):
        close = close | (input.isnan() & other.isnan())
    if rtol == 0 and atol == 0:
        return close
    if not (dtype.is_floating_point or dtype.is_complex):
        input, other = input.to(flambeau.get_default_dtype()), other.to(flambeau.get_default_dtype())
    error = (input - other).abs()
    return close | (error.isfinite() & (error <= atol + (rtol * other).abs()))


@composite(method=True)
@takes(
    "allclose(Tensor input, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False)",
)
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether :func:`isclose` holds for every element, as a bool.

    >>> flambeau.allclose(flambeau.tensor([1.0]), flambeau.tensor([1.0 + 1e-9]))
    True
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


for _name, _what, _shown in (
    ("isnan", "is NaN", "[False, False,  True]"),
    ("isinf", "is an infinity", "[False,  True, False]"),
    ("isfinite", "is neither NaN nor an infinity", "[ True, False, False]"),
):
    predicate(
        _name,
        f"""Whether each element {_what}; of complex ones, through their parts.

    >>> flambeau.{_name}(flambeau.tensor([1.0, float("inf"), float("nan")]))
    tensor({_shown})
    """,
    )
for _name, _what, _shown in (
    ("isposinf", "positive infinity", "[False,  True, False]"),
    ("isneginf", "negative infinity", "[False, False,  True]"),
):
    unary(
        _name,
        f"""Whether each element is {_what}.

    >>> flambeau.{_name}(flambeau.tensor([1.0, float("inf"), -float("inf")]))
    tensor({_shown})
    """,
        kind="bool",
        inplace=False,
    )
predicate(
    "isreal",
    """Whether each element has no imaginary part.

    >>> flambeau.isreal(flambeau.tensor([1 + 0j, 1j]))
    tensor([ True, False])
    """,
)
unary(
    "signbit",
    """Whether each element's sign is negative; that of -0.0 is.

    >>> flambeau.signbit(flambeau.tensor([1.0, -0.0]))
    tensor([False,  True])
    """,
    kind="bool",
    inplace=False,
)


def _shared(grad, loses, tie):
    """The gradient of the winner's operand; equal operands get half each."""
    return flambeau.where(loses, 0, flambeau.where(tie, grad / 2, grad))


op(
    "maximum(Tensor input, Tensor other, *, Tensor? out=None) -> Tensor",
    """The larger of two, element by element; NaN if either is NaN.

    >>> flambeau.maximum(flambeau.tensor([1, 5]), flambeau.tensor([3, 2]))
    tensor([3, 5])
    """,
    vjp={
        "input": lambda grad, input, other: _shared(grad, input < other, input == other),
        "other": lambda grad, input, other: _shared(grad, other < input, input == other),
    },
)
op(
    "minimum(Tensor input, Tensor other, *, Tensor? out=None) -> Tensor",
    """The smaller of two, element by element; NaN if either is NaN.

    >>> flambeau.minimum(flambeau.tensor([1, 5]), flambeau.tensor([3, 2]))
    tensor([1, 2])
    """,
    vjp={
        "input": lambda grad, input, other: _shared(grad, input > other, input == other),
        "other": lambda grad, input, other: _shared(grad, other > input, input == other),
    },
)
binary(
    "fmax",
    """The larger of two, element by element; a NaN gives way to a number.

    >>> flambeau.fmax(flambeau.tensor([1.0, float("nan")]), flambeau.tensor([3.0, 2.0]))
    tensor([3., 2.])
    """,
    {
        "input": lambda grad, input, other: flambeau.where((input >= other) | other.isnan(), grad, 0),
        "other": lambda grad, input, other: flambeau.where((input >= other) | other.isnan(), 0, grad),
    },
    inplace=False,
)
binary(
    "fmin",
    """The smaller of two, element by element; a NaN gives way to a number.

    >>> flambeau.fmin(flambeau.tensor([1.0, float("nan")]), flambeau.tensor([3.0, 2.0]))
    tensor([1., 2.])
    """,
    {
        "input": lambda grad, input, other: flambeau.where((input <= other) | other.isnan(), grad, 0),
        "other": lambda grad, input, other: flambeau.where((input <= other) | other.isnan(), 0, grad),
    },
    inplace=False,
)


def _clamp_input(grad, input, min, max):
    inside = None
    if min is not None:
        inside = input >= min
    if max is not None:
        inside = input <= max if inside is None else inside & (input <= max)
    return flambeau.where(inside, grad, 0)


def _clamp_min_limit(grad, input, min, max):
    at = input < min
    return flambeau.where(at if max is None else at & (min < max), grad, 0)


def _clamp_max_limit(grad, input, min, max):
    at = input > max
    return flambeau.where(at if min is None else at | (max < min), grad, 0)


op(
    "clamp(Tensor input, Operand? min=None, Operand? max=None, *, Tensor? out=None) -> Tensor",
    """Each element, limited to [min, max]; the limits are numbers or tensors, and either may be left out.

    Where min exceeds max, the result is max. NaN stays NaN.

    >>> flambeau.clamp(flambeau.tensor([-1.0, 0.5, 3.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """,
    inplace=True,
    aliases=("clip",),
    vjp={"input": _clamp_input, "min": _clamp_min_limit, "max": _clamp_max_limit},
)
op(
    "clamp_min(Tensor input, Operand min, *, Tensor? out=None) -> Tensor",
    """Each element, or min where that is larger.

    >>> flambeau.clamp_min(flambeau.tensor([-1.0, 3.0]), 0)
    tensor([0., 3.])
    """,
    inplace=True,
    vjp={
        "input": lambda grad, input, min: _clamp_input(grad, input, min, None),
        "min": lambda grad, input, min: _clamp_min_limit(grad, input, min, None),
    },
)
op(
    "clamp_max(Tensor input, Operand max, *, Tensor? out=None) -> Tensor",
    """Each element, or max where that is smaller.

    >>> flambeau.clamp_max(flambeau.tensor([-1.0, 3.0]), 0)
    tensor([-1.,  0.])
    """,
    inplace=True,
    vjp={
        "input": lambda grad, input, max: _clamp_input(grad, input, None, max),
        "max": lambda grad, input, max: _clamp_max_limit(grad, input, None, max),
    },
)
binary(
    "heaviside",
    """0 where input is negative, 1 where positive, and `values` where it is 0.

    >>> flambeau.heaviside(flambeau.tensor([-1.5, 0.0, 2.0]), flambeau.tensor([0.5]))
    tensor([0.0000, 0.5000, 1.0000])
    """,
    operands="Tensor input, Tensor values",
    why_not="not written",
)
