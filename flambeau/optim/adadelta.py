"""Adadelta."""

from ._rules import (
    RuleOptimizer,
    add_scaled,
    check_lr,
    check_nonnegative,
    step_count,
    step_lists,
    zeros_like,
)

__all__ = ["Adadelta", "adadelta"]


class Adadelta(RuleOptimizer):
    """Steps with the ratio of running mean squares of past updates and of gradients (Zeiler, 2012).

    Args:
        lr: factor of the update. Default: 1.
        rho: how much of the running means is kept. Default: 0.9.
        eps: added to both mean squares. Default: 1e-6.
    """

    def __init__(
        self,
        params,
        lr=1.0,
        rho=0.9,
        eps=1e-6,
        weight_decay=0,
        foreach=None,
        *,
        capturable=False,
        maximize=False,
        differentiable=False,
    ):
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        if eps < 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_nonnegative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group, param, state):
        state["step"] = step_count()
        state["square_avg"] = zeros_like(param)
        state["acc_delta"] = zeros_like(param)

    @staticmethod
    def _update(group, param, grad, state, lr):
        rho, eps = group["rho"], group["eps"]
        square = state["square_avg"].mul_(rho).addcmul_(grad, grad, value=1 - rho)
        delta = state["acc_delta"].add(eps).sqrt_()
        if group["differentiable"]:
            delta = delta.clone()  # the root is needed for its own gradient
        delta.div_(square.add(eps).sqrt_()).mul_(grad)
        state["acc_delta"].mul_(rho).addcmul_(delta, delta, value=1 - rho)
        add_scaled(param, delta, -lr)


def adadelta(
    params,
    grads,
    square_avgs,
    acc_deltas,
    state_steps,
    capturable=False,
    foreach=None,
    differentiable=False,
    has_complex=False,
    *,
    lr,
    rho,
    eps,
    weight_decay,
    maximize,
):
    """One step of :class:`Adadelta` on lists of tensors, updated in place, with the class's options by keyword.

    `foreach` and `capturable` are accepted, and complex parameters need no notice (`has_complex`).
    """
    step_lists(
        Adadelta,
        params,
        grads,
        {
            "step": state_steps,
            "square_avg": square_avgs,
            "acc_delta": acc_deltas,
        },
        lr=lr,
        rho=rho,
        eps=eps,
        weight_decay=weight_decay,
        maximize=maximize,
        differentiable=differentiable,
    )
