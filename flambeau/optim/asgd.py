"""Averaged stochastic gradient descent."""

import flambeau

from ._rules import (
    RuleOptimizer,
    add_scaled,
    check_lr,
    check_nonnegative,
    number,
    step_count,
    step_lists,
    zeros_like,
)

__all__ = ["ASGD", "asgd"]


class ASGD(RuleOptimizer):
    """SGD that also averages the parameters of its path, in the state ``"ax"`` (Polyak and Juditsky, 1992).

    Args:
        lr: learning rate. Default: 1e-2.
        lambd: decay of the parameters. Default: 1e-4.
        alpha: power of the rate's fall. Default: 0.75.
        t0: step at which averaging starts. Default: 1e6.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        lambd=1e-4,
        alpha=0.75,
        t0=1e6,
        weight_decay=0,
        foreach=None,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        check_lr(lr)
        check_nonnegative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group, param, state):
        state["step"] = step_count()
        state["eta"] = flambeau.tensor(number(group["lr"]), dtype=flambeau.float32)
        state["mu"] = flambeau.ones((), dtype=flambeau.float32)
        state["ax"] = zeros_like(param)

    @staticmethod
    def _update(group, param, grad, state, lr):
        eta = state["eta"].item()
        step = state["step"].item()
        param.mul_(1 - group["lambd"] * eta)
        add_scaled(param, grad, -eta)
        average, mu = state["ax"], state["mu"].item()
        if mu == 1:
            average.copy_(param)
        else:
            average.add_(param.sub(average).mul_(mu))
        state["eta"].copy_(flambeau.as_tensor(lr / ((1 + group["lambd"] * lr * step) ** group["alpha"])))
        state["mu"].copy_(flambeau.as_tensor(1 / max(1, step - group["t0"])))


def asgd(
    params,
    grads,
    axs,
    mus,
    etas,
    state_steps,
    foreach=None,
    maximize=False,
    differentiable=False,
    capturable=False,
    has_complex=False,
    *,
    lambd,
    lr,
    t0,
    alpha,
    weight_decay,
):
    """One step of :class:`ASGD` on lists of tensors, updated in place, with the class's options by keyword.

    `foreach` and `capturable` are accepted, and complex parameters need no notice (`has_complex`).
    """
    step_lists(
        ASGD,
        params,
        grads,
        {
            "step": state_steps,
            "eta": etas,
            "mu": mus,
            "ax": axs,
        },
        lr=lr,
        lambd=lambd,
        alpha=alpha,
        t0=t0,
        weight_decay=weight_decay,
        maximize=maximize,
        differentiable=differentiable,
    )
