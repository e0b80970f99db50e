"""Rounding, and numbers next to a number."""

import flambeau

from ._pointwise import binary, unary, zero
from .outputs import deliver
from .registry import composite, op, takes

for _name, _what, _aliases, _shown in (
    ("ceil", "The smallest integer that is not below each element", (), "[-1., -0.,  2.]"),
    ("floor", "The largest integer that is not above each element", (), "[-2., -1.,  1.]"),
    ("trunc", "Each element without its fraction", ("fix",), "[-1., -0.,  1.]"),
):
    unary(
        _name,
        f"""{_what}, in the same dtype.

    >>> flambeau.{_name}(flambeau.tensor([-1.5, -0.5, 1.5]))
    tensor({_shown})
    """,
        zero,
        kind="same",
        aliases=_aliases,
    )
op(
    "round(Tensor input, *, int decimals=0, Tensor? out=None) -> Tensor",
    """Each element to the nearest integer, halves to the even one; or to a number of decimals.

    >>> flambeau.round(flambeau.tensor([0.5, 1.5, 2.345]))
    tensor([0., 2., 2.])
    >>> flambeau.round(flambeau.tensor([2.345]), decimals=2)
    tensor([2.3400])
    """,
    inplace=True,
    vjp={"input": zero},
)
unary(
    "frac",
    """What :func:`trunc` takes away; it has the sign of the element.

    >>> flambeau.frac(flambeau.tensor([1.25, -1.25]))
    tensor([ 0.2500, -0.2500])
    """,
    lambda grad: grad,
    kind="same",
)


def _copysign(grad, input, result):
    return flambeau.where(input == 0, 0, grad * (result / input))


op(
    "copysign(Tensor input, Operand other, *, Tensor? out=None) -> Tensor",
    """The size of input with the sign of other.

    >>> flambeau.copysign(flambeau.tensor([1.0, -2.0]), -1)
    tensor([-1., -2.])
    """,
    family="pointwise",
    kind="float",
    inplace=True,
    vjp={"input": _copysign, "other": zero},
)


def _nextafter(grad, input, other):
    return grad.masked_fill(input == other, 0)


binary(
    "nextafter",
    """The next representable number from input towards other.

    >>> flambeau.nextafter(flambeau.tensor([1.0]), flambeau.tensor([2.0])) > 1
    tensor([True])
    """,
    {"input": _nextafter, "other": zero},
)


def _nan_to_num(grad, input):
    return flambeau.where(input.isfinite(), grad, 0)


op(
    "_nan_to_num(Tensor input, float? nan=None, float? posinf=None, float? neginf=None, *, Tensor? out=None) -> Tensor",
    impl="nan_to_num",
    inplace=True,
    public=False,
    vjp={"input": _nan_to_num},
)


@composite(method=True)
@takes(
    "nan_to_num(Tensor input, float? nan=None, float? posinf=None, float? neginf=None, *, Tensor? out=None)",
)
def nan_to_num(input, nan=None, posinf=None, neginf=None, *, out=None):
    """Replaces NaN by `nan` (0), infinities by `posinf` and `neginf` (the dtype's largest numbers).

    >>> flambeau.nan_to_num(flambeau.tensor([float("nan"), 1.0]))
    tensor([0., 1.])
    """
    if not input.dtype.is_complex:
        return input._nan_to_num(nan, posinf, neginf, out=out)
    result = flambeau.view_as_complex(flambeau.view_as_real(input)._nan_to_num(nan, posinf, neginf))
    return deliver(result, out, "nan_to_num")


@composite(method=True)
@takes("nan_to_num_(Tensor input, float? nan=None, float? posinf=None, float? neginf=None)")
def nan_to_num_(input, nan=None, posinf=None, neginf=None):
    """In-place form of `nan_to_num`."""
    if input.dtype.is_complex:
        flambeau.view_as_real(input)._nan_to_num_(nan, posinf, neginf)
        return input
    return input._nan_to_num_(nan, posinf, neginf)
