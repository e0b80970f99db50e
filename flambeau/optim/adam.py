"""Adam, with the options that make it AdamW."""

import flambeau

from ._native import native_step, usable
from ._rules import (
    RuleOptimizer,
    addcdiv_scaled,
    check_lr,
    check_nonnegative,
    check_options,
    number,
    recorded,
    run_closure,
    step_count,
    step_lists,
    unscale,
    zeros_like,
)
from .optimizer import _use_grad_for_differentiable

__all__ = ["Adam", "adam"]


class Adam(RuleOptimizer):
    """Steps scaled by running means of the gradient and of its square (Kingma and Ba, 2014).

    Args:
        lr: learning rate. Default: 1e-3.
        betas: how much of the two running means is kept. Default: (0.9, 0.999).
        eps: added to the denominator. Default: 1e-8.
        weight_decay: adds ``weight_decay * param`` to the gradient. Default: 0.
        amsgrad: divide by the largest mean square so far (Reddi et al., 2018). Default: False.
        decoupled_weight_decay: shrink the parameters instead, as :class:`AdamW` does. Default: False.
        maximize: go uphill. Default: False.
        differentiable: record the update. Default: False.

    `foreach`, `fused` and `capturable` are accepted; one pass over all parameters is the only implementation.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
        fused=None,
        decoupled_weight_decay=False,
    ):
        check_lr(lr)
        if isinstance(lr, flambeau.Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        if eps < 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        if len({isinstance(beta, flambeau.Tensor) for beta in betas}) > 1:
            raise ValueError("betas must be either both floats or both Tensors")
        if foreach and not capturable:
            for i, beta in enumerate(betas):
                if isinstance(beta, flambeau.Tensor):
                    raise ValueError(
                        f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
                    )
        for i, beta in enumerate(betas):
            if isinstance(beta, flambeau.Tensor) and beta.numel() != 1:
                raise ValueError(f"Tensor betas[{i}] must be 1-element")
        check_nonnegative("weight_decay", weight_decay)
        check_options(fused, foreach, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            for name in ("amsgrad", "maximize", "capturable", "differentiable", "decoupled_weight_decay"):
                group.setdefault(name, False)
            group.setdefault("foreach", None)
            group.setdefault("fused", None)
        for values in self.state.values():
            # Older files keep the step as a number.
            if values and not isinstance(values.get("step"), flambeau.Tensor):
                values["step"] = flambeau.tensor(float(values["step"]), dtype=flambeau.float32)

    @classmethod
    def _check_grad(cls, grad):
        if grad.is_sparse:
            raise RuntimeError("Adam does not support sparse gradients, please consider SparseAdam instead")

    def _init_state(self, group, param, state):
        state["step"] = step_count()
        state["exp_avg"] = zeros_like(param)
        state["exp_avg_sq"] = zeros_like(param)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(param)

    @_use_grad_for_differentiable
    def step(self, closure=None):
        """Update the parameters once; `closure` computes the loss anew, and its result is returned."""
        native = native_step("adam_step")
        if native is None or self.defaults.get("differentiable", False):
            return super().step(closure)
        loss = run_closure(closure)
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            grads = [param.grad for param in params]
            if usable(params, grads):
                self._native_step(native, group, params, grads)
            else:
                self._step_group(group)
        return loss

    def _native_step(self, native, group, params, grads):
        states = []
        for param in params:
            state = self.state[param]
            if not state:
                self._init_state(group, param, state)
            states.append(state)
        _one_pass(
            native,
            params,
            grads,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
            [state["step"] for state in states],
            group,
        )

    @staticmethod
    def _update(group, param, grad, state, lr):
        beta1, beta2 = group["betas"]
        if not group["differentiable"]:
            beta1, beta2 = number(beta1), number(beta2)
        # Recorded steps count as PyTorch's do there: by the tensor, in its precision.
        step = state["step"] if group["differentiable"] else state["step"].item()
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - number(beta2))
        if group["amsgrad"]:
            largest = state["max_exp_avg_sq"]
            earlier = largest.clone() if group["differentiable"] else largest
            largest.copy_(flambeau.maximum(earlier, square))
            square = largest
        denominator = (square.sqrt() / (1 - beta2**step) ** 0.5).add_(group["eps"])
        addcdiv_scaled(param, mean, denominator, -(lr / (1 - beta1**step)))


def _one_pass(native, params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, group):
    beta1, beta2 = group["betas"]
    native(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        max_exp_avg_sqs,
        state_steps,
        number(group["lr"]),
        number(beta1),
        number(beta2),
        group["eps"],
        group["weight_decay"],
        group["decoupled_weight_decay"],
        group["maximize"],
    )


def adam(
    params,
    grads,
    exp_avgs,
    exp_avg_sqs,
    max_exp_avg_sqs,
    state_steps,
    foreach=None,
    capturable=False,
    differentiable=False,
    fused=None,
    grad_scale=None,
    found_inf=None,
    has_complex=False,
    decoupled_weight_decay=False,
    *,
    amsgrad,
    beta1,
    beta2,
    lr,
    weight_decay,
    eps,
    maximize,
):
    """One step of :class:`Adam` on lists of tensors, updated in place, with the class's options by keyword.

    `max_exp_avg_sqs` may be empty without `amsgrad`. `grad_scale` divides the gradients, and nothing happens where
    `found_inf` is not zero. `foreach`, `fused` and `capturable` are accepted, and complex parameters need no notice
    (`has_complex`).
    """
    group = {
        "lr": lr,
        "betas": (beta1, beta2),
        "eps": eps,
        "weight_decay": weight_decay,
        "amsgrad": amsgrad,
        "maximize": maximize,
        "differentiable": differentiable,
        "decoupled_weight_decay": decoupled_weight_decay,
    }
    largest = max_exp_avg_sqs if amsgrad else []
    native = native_step("adam_step")
    on_lists = (params, grads, exp_avgs, exp_avg_sqs, largest)
    if native is None or differentiable or not usable(params, grads) or recorded(*on_lists):
        states = {
            "step": state_steps,
            "exp_avg": exp_avgs,
            "exp_avg_sq": exp_avg_sqs,
            "max_exp_avg_sq": largest,
        }
        step_lists(Adam, params, grads, states, grad_scale=grad_scale, found_inf=found_inf, **group)
    elif unscale(grads, grad_scale, found_inf):
        _one_pass(native, *on_lists, state_steps, group)
