"""Sums, differences, products and quotients."""

from .registry import op


def conj(x):
    """Conjugate of a tensor or a number; what is real stays itself."""
    if isinstance(x, complex):
        return x.conjugate()
    return x.conj() if not isinstance(x, (int, float)) and x.is_complex() else x


op(
    "add(Operand input, Operand other, *, Scalar alpha=1, Tensor? out=None) -> Tensor",
    """input + alpha * other, with broadcasting and type promotion.

    >>> flambeau.add(flambeau.ones(2), 3, alpha=2)
    tensor([7., 7.])
    """,
    inplace=True,
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
    aliases=("subtract",),
    vjp={
        "input": lambda grad: grad,
        "other": lambda grad, alpha: -grad if alpha == 1 else grad * -conj(alpha),
    },
)
op(
    "mul(Operand input, Operand other, *, Tensor? out=None) -> Tensor",
    """Product of two tensors, or of a tensor and a number, element by element.

    >>> flambeau.mul(flambeau.ones(2), 3)
    tensor([3., 3.])
    """,
    family="pointwise",
    kind="same",
    inplace=True,
    aliases=("multiply",),
    vjp={
        "input": lambda grad, other: grad * conj(other),
        "other": lambda grad, input: grad * conj(input),
    },
)
op(
    "neg(Tensor input, *, Tensor? out=None) -> Tensor",
    """-input.

    >>> flambeau.neg(flambeau.ones(2))
    tensor([-1., -1.])
    """,
    family="pointwise",
    kind="same",
    inplace=True,
    aliases=("negative",),
    vjp={"input": lambda grad: -grad},
)
