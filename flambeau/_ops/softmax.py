"""Softmax and its logarithm along one dimension."""

from .registry import op

_softmax_backward = op(
    "_softmax_backward(Tensor grad_output, Tensor output, int dim) -> Tensor",
    "``output * (grad_output - (grad_output * output).sum(dim))``",
    public=False,
    method=False,
    vjp={
        "grad_output": lambda grad, output, dim: _softmax_backward(grad, output, dim),
        "output": lambda grad, grad_output, output, dim: (
            grad * (grad_output - (grad_output * output).sum(dim, True))
            - grad_output * (grad * output).sum(dim, True)
        ),
    },
)
_log_softmax_backward = op(
    "_log_softmax_backward(Tensor grad_output, Tensor output, int dim) -> Tensor",
    "``grad_output - exp(output) * grad_output.sum(dim)``",
    public=False,
    method=False,
    vjp={
        "grad_output": lambda grad, output, dim: grad - (grad * output.exp()).sum(dim, True),
        "output": lambda grad, grad_output, output, dim: -(grad * output.exp()) * grad_output.sum(dim, True),
    },
)
op(
    "softmax(Tensor input, int dim, dtype? dtype=None, *, Tensor? out=None) -> Tensor",
    """``exp(input)`` divided by its sum along `dim`, computed without overflow. dtype: cast the input first.

    >>> flambeau.softmax(flambeau.zeros(2), 0)
    tensor([0.5000, 0.5000])
    """,
    vjp={"input": lambda grad, result, dim: _softmax_backward(grad, result, dim)},
)
op(
    "log_softmax(Tensor input, int dim, dtype? dtype=None, *, Tensor? out=None) -> Tensor",
    """The logarithm of `softmax`, exact where that underflows. dtype: cast the input first.

    >>> flambeau.log_softmax(flambeau.zeros(2), 0)
    tensor([-0.6931, -0.6931])
    """,
    vjp={"input": lambda grad, result, dim: _log_softmax_backward(grad, result, dim)},
)
