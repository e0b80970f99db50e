"""Losses of class indices. `reduction` is 0 (none), 1 (mean) or 2 (sum)."""

import flambeau

from .registry import op
from .second_order import vjp_through

_nll_backward = op(
    "nll_loss_backward(Tensor grad_output, Tensor input, Tensor target, Tensor? weight, int reduction, int ignore_index)"
    " -> Tensor",
    "The gradient of `nll_loss_forward`: zeros but for the targets' entries.",
    public=False,
    method=False,
    vjp={
        "grad_output": lambda grad, target, weight, reduction, ignore_index: nll_loss_forward(
            grad, target, weight, reduction, ignore_index
        )[0],
        "input": None,
        "weight": None,
    },
)
nll_loss_forward = op(
    "nll_loss_forward(Tensor input, Tensor target, Tensor? weight, int reduction, int ignore_index)"
    " -> (Tensor output, Tensor total_weight)",
    "Minus the log-probability of every target, weighted; and the sum of the weights, by which the mean divides.",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, input, target, weight, reduction, ignore_index: (
            None if grad is None else _nll_backward(grad, input, target, weight, reduction, ignore_index)
        ),
        "weight": None,
    },
)


def _cross_entropy_gradient(grad_output, input, target, weight, reduction, ignore_index):
    """The gradient of cross entropy with respect to the logits, with differentiable operators."""
    counted = target != ignore_index
    safe = target.where(counted, flambeau.zeros_like(target))
    share = (
        counted.to(input.dtype) if weight is None else weight.index_select(0, safe).to(input.dtype) * counted
    )
    scale = grad_output * share / share.sum() if reduction == 1 else grad_output * share
    hot = flambeau.zeros_like(input).scatter(1, safe.unsqueeze(1), 1.0)
    return (input.softmax(1) - hot) * scale.unsqueeze(1)


_cross_entropy_backward = op(
    "_cross_entropy_backward(Tensor grad_output, Tensor input, Tensor target, Tensor? weight, Tensor log_sums, "
    "int reduction, int ignore_index) -> Tensor",
    "The gradient of `_cross_entropy` with respect to the logits.",
    public=False,
    method=False,
    vjp={
        "grad_output, input": lambda grad, grad_output, input, target, weight, reduction, ignore_index, needs: (
            vjp_through(
                lambda g, x: _cross_entropy_gradient(g, x, target.long(), weight, reduction, ignore_index),
                (grad_output, input),
                (grad,),
                needs,
            )
        ),
        "weight": None,
        "log_sums": None,
    },
)
cross_entropy_rows = op(
    "_cross_entropy(Tensor input, Tensor target, Tensor? weight, int reduction, int ignore_index)"
    " -> (Tensor output, Tensor total_weight, Tensor log_sums)",
    "Cross entropy of logits (N, C) with class indices (N), and the log-sum-exp of every row.",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, input, target, weight, log_sums, reduction, ignore_index: (
            None
            if grad is None
            else _cross_entropy_backward(grad, input, target, weight, log_sums, reduction, ignore_index)
        ),
        "weight": None,
    },
)
