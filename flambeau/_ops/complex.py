"""Complex numbers: parts, angles, conjugates, and views as pairs of real numbers."""

import flambeau

from ._pointwise import conj, unary
from .registry import composite, op, records, takes

unary(
    "conj_physical",
    "The complex conjugate, computed; real tensors are copied.",
    lambda grad: conj(grad),
    kind="same",
)


_computed = records["conj_physical"].op


@composite(method=True)
@takes("conj_physical(Tensor input, *, Tensor? out=None)")
def conj_physical(input, *, out=None):
    """The complex conjugate, computed at once; a real tensor is returned itself.

    >>> flambeau.conj_physical(flambeau.tensor([1 + 2j]))
    tensor([1.-2.j])
    """
    return input if out is None and not input.dtype.is_complex else _computed(input, out=out)


@composite(method=True, name="conj")
@takes("conj(Tensor input)")
def _conj(input):
    """The complex conjugate; a real tensor is returned itself.

    >>> flambeau.conj(flambeau.tensor([1 + 2j]))
    tensor([1.-2.j])
    """
    return input.conj_physical() if input.dtype.is_complex else input


@composite(method=True)
@takes("resolve_conj(Tensor input)")
def resolve_conj(input):
    """The tensor itself: conjugates are never left to be computed.

    >>> flambeau.resolve_conj(flambeau.tensor([1.0]))
    tensor([1.])
    """
    return input


@composite(method=True)
@takes("resolve_neg(Tensor input)")
def resolve_neg(input):
    """The tensor itself: negations are never left to be computed.

    >>> flambeau.resolve_neg(flambeau.tensor([1.0]))
    tensor([1.])
    """
    return input


@composite(method=True)
def is_conj(input):
    """False: conjugates are never left to be computed.

    >>> flambeau.is_conj(flambeau.tensor([1j]))
    False
    """
    return False


@composite(method=True)
def is_neg(input):
    """False: negations are never left to be computed.

    >>> flambeau.is_neg(flambeau.tensor([1.0]))
    False
    """
    return False


op(
    "view_as_real(Tensor input) -> Tensor",
    """A view of a complex tensor with its real and imaginary parts along a new last dimension.

    >>> flambeau.view_as_real(flambeau.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """,
    view=True,
    method=False,
    vjp={"input": lambda grad: flambeau.view_as_complex(grad.contiguous())},
)
op(
    "view_as_complex(Tensor input) -> Tensor",
    """A complex view of a tensor whose last dimension, of size 2, holds real and imaginary parts.

    >>> flambeau.view_as_complex(flambeau.tensor([[1.0, 2.0]]))
    tensor([1.+2.j])
    """,
    view=True,
    method=False,
    vjp={"input": lambda grad: flambeau.view_as_real(grad)},
)


def real(input):
    """The real parts, as a view; a real tensor itself.

    >>> flambeau.real(flambeau.tensor([1 + 2j]))
    tensor([1.])
    """
    return flambeau.view_as_real(input).select(-1, 0) if input.dtype.is_complex else input


def imag(input):
    """The imaginary parts of a complex tensor, as a view.

    >>> flambeau.imag(flambeau.tensor([1 + 2j]))
    tensor([2.])
    """
    if not input.dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return flambeau.view_as_real(input).select(-1, 1)


def _set_part(part):
    def write(self, value):
        part(self).copy_(value) if isinstance(value, flambeau.Tensor) else part(self).fill_(value)

    return write


composite(real)
composite(imag)
composite(property(real, _set_part(real), doc=real.__doc__), method=True, public=False, name="real")
composite(property(imag, _set_part(imag), doc=imag.__doc__), method=True, public=False, name="imag")


def _angle(grad, input):
    if not input.dtype.is_complex:
        return flambeau.zeros_like(grad)
    re, im = input.real, input.imag
    square = re * re + im * im
    return flambeau.where(square == 0, 0, flambeau.complex(-grad * im / square, grad * re / square))


unary(
    "angle",
    """The angle of complex numbers in (-pi, pi]; of real ones, 0 or pi.

    >>> flambeau.angle(flambeau.tensor([1j, -1]))
    tensor([1.5708, 3.1416])
    """,
    _angle,
    kind="float_real",
    inplace=False,
)
op(
    "complex(Tensor real, Tensor imag, *, Tensor? out=None) -> Tensor",
    """Complex numbers from their parts, two floating tensors of one dtype.

    >>> flambeau.complex(flambeau.tensor([1.0]), flambeau.tensor([2.0]))
    tensor([1.+2.j])
    """,
    method=False,
    vjp={"real": lambda grad: grad.real, "imag": lambda grad: grad.imag},
)


op(
    "polar(Tensor abs, Tensor angle, *, Tensor? out=None) -> Tensor",
    """Complex numbers from their lengths and angles.

    >>> flambeau.polar(flambeau.tensor([1.0]), flambeau.tensor([0.0]))
    tensor([1.+0.j])
    """,
    method=False,
    vjp={
        "abs": lambda grad, angle: grad.real * angle.cos() + grad.imag * angle.sin(),
        "angle": lambda grad, result: (conj(grad) * (result * 1j)).real,
    },
)
