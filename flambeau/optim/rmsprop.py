"""RMSprop."""

from ._rules import (
    RuleOptimizer,
    add_scaled,
    addcdiv_scaled,
    check_lr,
    check_nonnegative,
    step_count,
    step_lists,
    zeros_like,
)

__all__ = ["RMSprop", "rmsprop"]


class RMSprop(RuleOptimizer):
    """Steps divided by the root of a running mean of squared gradients (Hinton, 2012).

    Args:
        lr: learning rate. Default: 1e-2.
        alpha: how much of the mean square is kept. Default: 0.99.
        eps: added to the denominator. Default: 1e-8.
        momentum: share of the last direction that is kept. Default: 0.
        centered: divide by the estimated standard deviation instead. Default: False.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0,
        momentum=0,
        centered=False,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        check_lr(lr)
        if eps < 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_nonnegative("momentum", momentum)
        check_nonnegative("weight_decay", weight_decay)
        check_nonnegative("alpha", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group, param, state):
        state["step"] = step_count()
        state["square_avg"] = zeros_like(param)
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = zeros_like(param)

    @staticmethod
    def _update(group, param, grad, state, lr):
        alpha = group["alpha"]
        square = state["square_avg"].mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
        if group["centered"]:
            mean = state["grad_avg"].lerp_(grad, 1 - alpha)
            root = square.addcmul(mean, mean, value=-1).sqrt_()
        else:
            root = square.sqrt()
        root = root.add(group["eps"]) if group["differentiable"] else root.add_(group["eps"])
        if group["momentum"] > 0:
            buffer = state["momentum_buffer"].mul_(group["momentum"]).addcdiv_(grad, root)
            add_scaled(param, buffer, -lr)
        else:
            addcdiv_scaled(param, grad, root, -lr)


def rmsprop(
    params,
    grads,
    square_avgs,
    grad_avgs,
    momentum_buffer_list,
    state_steps,
    foreach=None,
    maximize=False,
    differentiable=False,
    capturable=False,
    has_complex=False,
    *,
    lr,
    alpha,
    eps,
    weight_decay,
    momentum,
    centered,
):
    """One step of :class:`RMSprop` on lists of tensors, updated in place, with the class's options by keyword.

    `foreach` and `capturable` are accepted, and complex parameters need no notice (`has_complex`).
    """
    step_lists(
        RMSprop,
        params,
        grads,
        {
            "step": state_steps,
            "square_avg": square_avgs,
            "grad_avg": grad_avgs,
            "momentum_buffer": momentum_buffer_list,
        },
        lr=lr,
        alpha=alpha,
        eps=eps,
        weight_decay=weight_decay,
        momentum=momentum,
        centered=centered,
        maximize=maximize,
        differentiable=differentiable,
    )
