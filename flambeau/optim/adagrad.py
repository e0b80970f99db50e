"""Adagrad."""

import flambeau

from ._rows import with_values
from ._rules import (
    RuleOptimizer,
    addcdiv_scaled,
    check_lr,
    check_nonnegative,
    check_options,
    step_count,
    step_lists,
)

__all__ = ["Adagrad", "adagrad"]


class Adagrad(RuleOptimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al., 2011).

    Args:
        lr: learning rate. Default: 1e-2.
        lr_decay: the rate falls as ``lr / (1 + (step - 1) * lr_decay)``. Default: 0.
        initial_accumulator_value: where the sums start. Default: 0.
        eps: added to the denominator. Default: 1e-10.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0,
        weight_decay=0,
        initial_accumulator_value=0,
        eps=1e-10,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        fused=None,
    ):
        check_lr(lr)
        check_nonnegative("lr_decay", lr_decay)
        check_nonnegative("weight_decay", weight_decay)
        check_nonnegative("initial_accumulator_value", initial_accumulator_value)
        if eps < 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_options(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                self._init_state(group, param, self.state[param])

    def _init_state(self, group, param, state):
        value = group["initial_accumulator_value"]
        state["step"] = step_count()
        state["sum"] = flambeau.full_like(
            param,
            complex(value, value) if param.is_complex() else value,
            memory_format=flambeau.preserve_format,
        )

    def share_memory(self):
        """Move the state to memory shared between processes."""
        for state in self.state.values():
            state["sum"].share_memory_()

    @staticmethod
    def _weight_decay(group, param, grad, lr):
        if group["weight_decay"] != 0 and grad.is_sparse:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        return RuleOptimizer._weight_decay(group, param, grad, lr)

    @classmethod
    def _check_grad(cls, grad):
        """Sparse ones are welcome."""

    @staticmethod
    def _update(group, param, grad, state, lr):
        rate = lr / (1 + (state["step"].item() - 1) * group["lr_decay"])
        if grad.is_sparse:
            grad = grad.coalesce()
            state["sum"].add_(with_values(grad, grad._values() ** 2))
            root = state["sum"].sparse_mask(grad)._values().sqrt_().add_(group["eps"])
            param.add_(with_values(grad, grad._values() / root), alpha=-rate)
            return
        total = state["sum"].addcmul_(grad, grad, value=1)
        root = total.sqrt()
        root = root + group["eps"] if group["differentiable"] else root.add_(group["eps"])
        addcdiv_scaled(param, grad, root, -rate)


def adagrad(
    params,
    grads,
    state_sums,
    state_steps,
    fused=None,
    grad_scale=None,
    found_inf=None,
    has_sparse_grad=False,
    foreach=None,
    differentiable=False,
    has_complex=False,
    *,
    lr,
    weight_decay,
    lr_decay,
    eps,
    maximize,
):
    """One step of :class:`Adagrad` on lists of tensors, updated in place, with the class's options by keyword.

    `foreach` and `capturable` are accepted, and complex parameters need no notice (`has_complex`).
    """
    step_lists(
        Adagrad,
        params,
        grads,
        {
            "step": state_steps,
            "sum": state_sums,
        },
        grad_scale=grad_scale,
        found_inf=found_inf,
        lr=lr,
        weight_decay=weight_decay,
        lr_decay=lr_decay,
        eps=eps,
        maximize=maximize,
        differentiable=differentiable,
    )
