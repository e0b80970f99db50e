"""Losses of class indices, of probabilities, and of differences. `reduction` is 0 (none), 1 (mean) or 2 (sum)."""

import flambeau

from ._pointwise import binary
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


binary_cross_entropy = binary(
    "_binary_cross_entropy",
    "-log(input) for the target 1, -log(1 - input) for 0 and what lies between; logarithms are limited to -100.",
    {
        # The limit is one of the value alone: the slope goes on, up to a divisor that is kept from 0.
        "input": lambda grad, input, target: grad * (input - target) / (input * (1 - input)).clamp(min=1e-12),
        "target": lambda grad, input: (
            grad * (flambeau.log1p(-input).clamp(min=-100) - input.log().clamp(min=-100))
        ),
    },
    operands="Tensor input, Tensor target",
    inplace=False,
    method=False,
    public=False,
)


# --- functions of input - target -------------------------------------------------------------------------------------

SQUARED, ABSOLUTE, SMOOTH_ABSOLUTE, HUBER = range(4)


def _difference_gradient(grad_output, input, target, kind, width, reduction):
    """The gradient of `difference_loss` with respect to the input, with differentiable operators."""
    difference = input - target
    if kind == SQUARED:
        slope = 2 * difference
    elif kind == ABSOLUTE:
        slope = difference.sign()
    else:
        slope = flambeau.where(difference.abs() < width, difference / width, difference.sign())
        if kind == HUBER:
            slope = slope * width
    return slope * (grad_output / input.numel() if reduction == 1 else grad_output)


_difference_loss_backward = op(
    "_difference_loss_backward(Tensor grad_output, Tensor input, Tensor target, int kind, float width, int reduction)"
    " -> Tensor",
    "The gradient of `_difference_loss` with respect to the input; with respect to the target it is the opposite.",
    public=False,
    method=False,
    vjp={
        "grad_output, input, target": lambda grad, grad_output, input, target, kind, width, reduction, needs: (
            vjp_through(
                lambda g, x, y: _difference_gradient(g, x, y, kind, width, reduction),
                (grad_output, input, target),
                (grad,),
                needs,
            )
        )
    },
)


def _difference_vjp(grad, input, target, kind, width, reduction, needs):
    found = _difference_loss_backward(grad, input, target, kind, width, reduction)
    return found if needs[0] else None, -found if needs[1] else None


difference_loss = op(
    "_difference_loss(Tensor input, Tensor target, int kind, float width, int reduction) -> Tensor",
    "A loss that depends on input - target, of two tensors of one shape and floating dtype. kind: SQUARED, ABSOLUTE, or "
    "quadratic nearer than `width` and linear beyond, with the slope 1 (SMOOTH_ABSOLUTE) or `width` (HUBER).",
    public=False,
    method=False,
    vjp={"input, target": _difference_vjp},
)
