"""RAdam."""

from ._rules import (
    RuleOptimizer,
    add_scaled,
    check_betas,
    check_lr,
    check_nonnegative,
    step_count,
    step_lists,
    zeros_like,
)

__all__ = ["RAdam", "radam"]


class RAdam(RuleOptimizer):
    """Adam that divides by the mean square only once its variance is bounded (Liu et al., 2019).

    Args:
        lr: learning rate. Default: 1e-3.
        betas: how much of the two running means is kept. Default: (0.9, 0.999).
        eps: added to the denominator. Default: 1e-8.
        decoupled_weight_decay: shrink the parameters, as AdamW does. Default: False.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
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
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group, param, state):
        state["step"] = step_count()
        state["exp_avg"] = zeros_like(param)
        state["exp_avg_sq"] = zeros_like(param)

    @staticmethod
    def _update(group, param, grad, state, lr):
        beta1, beta2 = group["betas"]
        step = state["step"].item()
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        correction2 = 1 - beta2**step
        # Length of the simple moving average that approximates the exponential one: its limit, and now.
        limit = 2 / (1 - beta2) - 1
        length = limit - 2 * step * (beta2**step) / correction2
        direction = mean / (1 - beta1**step)
        if length > 5.0:
            rectified = ((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)) ** 0.5
            direction = direction * lr * (correction2**0.5 / square.sqrt().add(group["eps"])) * rectified
            param.add_(direction, alpha=-1.0)
        else:
            add_scaled(param, direction * lr, -1.0)


def radam(
    params,
    grads,
    exp_avgs,
    exp_avg_sqs,
    state_steps,
    decoupled_weight_decay=False,
    foreach=None,
    differentiable=False,
    capturable=False,
    has_complex=False,
    maximize=False,
    *,
    beta1,
    beta2,
    lr,
    weight_decay,
    eps,
):
    """One step of :class:`RAdam` on lists of tensors, updated in place, with the class's options by keyword.

    `foreach` and `capturable` are accepted, and complex parameters need no notice (`has_complex`).
    """
    step_lists(
        RAdam,
        params,
        grads,
        {
            "step": state_steps,
            "exp_avg": exp_avgs,
            "exp_avg_sq": exp_avg_sqs,
        },
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled_weight_decay,
        maximize=maximize,
        differentiable=differentiable,
    )
