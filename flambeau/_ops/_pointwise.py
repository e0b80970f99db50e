"""Short forms of records for pointwise operators, and what their rules share."""

import flambeau

from .registry import op


def unary(name, doc, vjp=None, *, kind="float", inplace=True, **fields):
    """A record for `name(input, *, out=None)`; `vjp` is the rule for input."""
    return op(
        f"{name}(Tensor input, *, Tensor? out=None) -> Tensor",
        doc,
        family="pointwise",
        kind=kind,
        inplace=inplace,
        vjp=None if vjp is None else {"input": vjp},
        **fields,
    )


def predicate(name, doc):
    """A record for `name(input)` with a bool result and no out=."""
    return op(f"{name}(Tensor input) -> Tensor", doc, family="pointwise", kind="bool")


def binary(
    name, doc, vjp=None, *, kind="same", inplace=True, operands="Tensor input, Tensor other", **fields
):
    """A record for `name(input, other, *, out=None)`. The kind Operand in `operands` admits numbers."""
    return op(
        f"{name}({operands}, *, Tensor? out=None) -> Tensor",
        doc,
        family="pointwise",
        kind=kind,
        inplace=inplace,
        vjp=vjp,
        **fields,
    )


def conj(x):
    """Conjugate of a tensor or a number; what is real stays itself."""
    if isinstance(x, (int, float)):
        return x
    if isinstance(x, complex):
        return x.conjugate()
    return x.conj_physical() if x.dtype.is_complex else x


def zero(grad):
    """The gradient of a function that is constant almost everywhere."""
    return flambeau.zeros_like(grad)
