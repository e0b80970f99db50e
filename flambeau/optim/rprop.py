"""Resilient backpropagation."""

import flambeau

from ._rules import RuleOptimizer, check_lr, step_count, step_lists, zeros_like

__all__ = ["Rprop", "rprop"]


class Rprop(RuleOptimizer):
    """Steps whose sizes depend on the gradient's sign only (Riedmiller and Braun, 1993).

    Args:
        lr: where the step sizes start. Default: 1e-2.
        etas: factors of a step size when the sign changed, and when it did not. Default: (0.5, 1.2).
        step_sizes: smallest and largest step size. Default: (1e-6, 50).
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        etas=(0.5, 1.2),
        step_sizes=(1e-6, 50),
        *,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group, param, state):
        lr = group["lr"]
        state["step"] = step_count()
        state["prev"] = zeros_like(param)
        state["step_size"] = flambeau.full_like(
            param,
            complex(lr, lr) if param.is_complex() else float(lr),
            memory_format=flambeau.preserve_format,
        )

    @staticmethod
    def _weight_decay(group, param, grad, lr):
        return grad  # there is none, also where a group names one

    @staticmethod
    def _update(group, param, grad, state, lr):
        shrink, grow = group["etas"]
        smallest, largest = group["step_sizes"]
        product = grad * state["prev"]
        factor = flambeau.ones_like(product)
        factor = factor.masked_fill(product > 0, grow).masked_fill(product < 0, shrink)
        size = state["step_size"].mul_(factor).clamp_(smallest, largest)
        # After a change of sign the parameter rests for one step.
        grad = grad.masked_fill(product < 0, 0)
        param.addcmul_(grad.sign(), size, value=-1)
        state["prev"].copy_(grad)


def rprop(
    params,
    grads,
    prevs,
    step_sizes,
    state_steps,
    foreach=None,
    capturable=False,
    maximize=False,
    differentiable=False,
    has_complex=False,
    *,
    step_size_min,
    step_size_max,
    etaminus,
    etaplus,
):
    """One step of :class:`Rprop` on lists of tensors, updated in place, with the class's options by keyword.

    `foreach` and `capturable` are accepted, and complex parameters need no notice (`has_complex`).
    """
    step_lists(
        Rprop,
        params,
        grads,
        {
            "step": state_steps,
            "prev": prevs,
            "step_size": step_sizes,
        },
        lr=0.0,
        etas=(etaminus, etaplus),
        step_sizes=(step_size_min, step_size_max),
        maximize=maximize,
        differentiable=differentiable,
    )
