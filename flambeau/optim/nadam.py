"""NAdam."""

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

__all__ = ["NAdam", "nadam"]


class NAdam(RuleOptimizer):
    """Adam with Nesterov's momentum (Dozat, 2016).

    Args:
        lr: learning rate. Default: 2e-3.
        betas: how much of the two running means is kept. Default: (0.9, 0.999).
        eps: added to the denominator. Default: 1e-8.
        momentum_decay: how fast the momentum approaches its final value. Default: 4e-3.
        decoupled_weight_decay: shrink the parameters, as AdamW does. Default: False.
    """

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        momentum_decay=4e-3,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        check_lr(lr)
        if eps < 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        check_nonnegative("weight_decay", weight_decay)
        check_nonnegative("momentum_decay", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group, param, state):
        state["step"] = step_count()
        state["mu_product"] = flambeau.ones((), dtype=flambeau.float32)
        state["exp_avg"] = zeros_like(param)
        state["exp_avg_sq"] = zeros_like(param)

    @staticmethod
    def _update(group, param, grad, state, lr):
        beta1, beta2 = group["betas"]
        step = state["step"].item()
        decay = group["momentum_decay"]
        momentum = beta1 * (1.0 - 0.5 * 0.96 ** (step * decay))
        next_momentum = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * decay))
        state["mu_product"] *= momentum
        product = state["mu_product"].item()
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denominator = square.div(1 - beta2**step).sqrt()
        if group["differentiable"]:
            denominator = denominator.add(group["eps"])
        else:
            denominator.add_(group["eps"])
        addcdiv_scaled(param, grad, denominator, -lr * (1.0 - momentum) / (1.0 - product))
        addcdiv_scaled(param, mean, denominator, -lr * next_momentum / (1.0 - product * next_momentum))


def nadam(
    params,
    grads,
    exp_avgs,
    exp_avg_sqs,
    mu_products,
    state_steps,
    decoupled_weight_decay=False,
    foreach=None,
    capturable=False,
    differentiable=False,
    has_complex=False,
    maximize=False,
    *,
    beta1,
    beta2,
    lr,
    weight_decay,
    momentum_decay,
    eps,
):
    """One step of :class:`NAdam` on lists of tensors, updated in place, with the class's options by keyword.

    `foreach` and `capturable` are accepted, and complex parameters need no notice (`has_complex`).
    """
    step_lists(
        NAdam,
        params,
        grads,
        {
            "step": state_steps,
            "mu_product": mu_products,
            "exp_avg": exp_avgs,
            "exp_avg_sq": exp_avg_sqs,
        },
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        momentum_decay=momentum_decay,
        decoupled_weight_decay=decoupled_weight_decay,
        maximize=maximize,
        differentiable=differentiable,
    )
