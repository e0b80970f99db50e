"""Operators of three tensors: interpolation, and a product or quotient added."""

from ._pointwise import conj
from .registry import op


def _lerp_input(grad, weight):
    return grad * conj(1 - weight)


op(
    "lerp(Tensor input, Tensor end, Operand weight, *, Tensor? out=None) -> Tensor",
    """input + weight * (end - input); weight is a number or a tensor.

    >>> flambeau.lerp(flambeau.tensor([0.0, 10.0]), flambeau.tensor([10.0, 20.0]), 0.5)
    tensor([ 5., 15.])
    """,
    inplace=True,
    vjp={
        "input": _lerp_input,
        "end": lambda grad, weight: grad * conj(weight),
        "weight": lambda grad, input, end: grad * conj(end - input),
    },
)
op(
    "addcmul(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1, Tensor? out=None) -> Tensor",
    """input + value * tensor1 * tensor2.

    >>> flambeau.addcmul(flambeau.tensor([1.0]), flambeau.tensor([2.0]), flambeau.tensor([3.0]), value=0.5)
    tensor([4.])
    """,
    family="pointwise",
    kind="same",
    inplace=True,
    older=("input, value, tensor1, tensor2",),
    vjp={
        "input": lambda grad: grad,
        "tensor1": lambda grad, tensor2, value: grad * conj(tensor2 * value),
        "tensor2": lambda grad, tensor1, value: grad * conj(tensor1 * value),
    },
)
op(
    "addcdiv(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1, Tensor? out=None) -> Tensor",
    """input + value * tensor1 / tensor2; one of the two must be floating.

    >>> flambeau.addcdiv(flambeau.tensor([1.0]), flambeau.tensor([2.0]), flambeau.tensor([4.0]), value=2)
    tensor([2.])
    """,
    inplace=True,
    older=("input, value, tensor1, tensor2",),
    vjp={
        "input": lambda grad: grad,
        "tensor1": lambda grad, tensor2, value: grad * conj(value / tensor2),
        "tensor2": lambda grad, tensor1, tensor2, value: -grad * conj(value * tensor1 / (tensor2 * tensor2)),
    },
)
