"""Adamax."""

import flambeau

from ._rules import (
    RuleOptimizer,
    addcdiv_scaled,
    check_betas,
    check_lr,
    check_nonnegative,
    step_count,
    step_lists,
    zeros_like,
)

__all__ = ["Adamax", "adamax"]


class Adamax(RuleOptimizer):
    """Adam with the running maximum of the gradient's magnitude instead of its mean square (Kingma and Ba, 2014).

    Args:
        lr: learning rate. Default: 2e-3.
        betas: how much of the mean and of the maximum is kept. Default: (0.9, 0.999).
        eps: added to the magnitude. Default: 1e-8.
    """

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        check_lr(lr)
        if eps < 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        check_nonnegative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group, param, state):
        state["step"] = step_count()
        state["exp_avg"] = zeros_like(param)
        state["exp_inf"] = zeros_like(param)

    @staticmethod
    def _update(group, param, grad, state, lr):
        beta1, beta2 = group["betas"]
        mean, largest = state["exp_avg"], state["exp_inf"]
        mean.lerp_(grad, 1 - beta1)
        decayed = largest * beta2 if group["differentiable"] else largest.mul_(beta2)
        largest.copy_(flambeau.maximum(decayed, grad.abs().add_(group["eps"])))
        addcdiv_scaled(param, mean, largest, -(lr / (1 - beta1 ** state["step"].item())))


def adamax(
    params,
    grads,
    exp_avgs,
    exp_infs,
    state_steps,
    foreach=None,
    maximize=False,
    differentiable=False,
    capturable=False,
    has_complex=False,
    *,
    eps,
    beta1,
    beta2,
    lr,
    weight_decay,
):
    """One step of :class:`Adamax` on lists of tensors, updated in place, with the class's options by keyword.

    `foreach` and `capturable` are accepted, and complex parameters need no notice (`has_complex`).
    """
    step_lists(
        Adamax,
        params,
        grads,
        {
            "step": state_steps,
            "exp_avg": exp_avgs,
            "exp_inf": exp_infs,
        },
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        maximize=maximize,
        differentiable=differentiable,
    )
