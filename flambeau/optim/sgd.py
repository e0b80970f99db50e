"""Stochastic gradient descent."""

from ._native import native_step, usable
from ._rules import (
    add_scaled,
    check_lr,
    check_nonnegative,
    check_options,
    number,
    recorded,
    run_closure,
    unscale,
    zeros_like,
)
from .optimizer import Optimizer, _use_grad_for_differentiable

__all__ = ["SGD", "sgd"]


class SGD(Optimizer):
    """``param -= lr * grad``, with momentum, dampening, Nesterov's variant and L2 weight decay.

    Args:
        lr: learning rate. Default: 1e-3.
        momentum: share of the last direction that is kept. Default: 0.
        dampening: share of the gradient that the direction leaves out. Default: 0.
        weight_decay: adds ``weight_decay * param`` to the gradient. Default: 0.
        nesterov: look one step ahead (needs momentum and no dampening). Default: False.
        maximize: go uphill. Default: False.
        differentiable: record the update. Default: False.

    `foreach` and `fused` are accepted; one pass over all parameters is the only implementation.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0,
        dampening=0,
        weight_decay=0,
        nesterov=False,
        *,
        maximize=False,
        foreach=None,
        differentiable=False,
        fused=None,
    ):
        check_lr(lr)
        check_nonnegative("momentum", momentum)
        check_nonnegative("weight_decay", weight_decay)
        check_options(fused, foreach, differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("nesterov", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("differentiable", False)
            group.setdefault("fused", False)

    @_use_grad_for_differentiable
    def step(self, closure=None):
        """Update the parameters once; `closure` computes the loss anew, and its result is returned."""
        loss = run_closure(closure)
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            grads = [param.grad for param in params]
            buffers = None
            if group["momentum"] != 0:
                buffers = [self.state[param].get("momentum_buffer") for param in params]
            _step(
                params,
                grads,
                buffers,
                group["lr"] if group["differentiable"] else number(group["lr"]),
                group,
            )
            if buffers is not None:
                for param, buffer in zip(params, buffers, strict=True):
                    self.state[param]["momentum_buffer"] = buffer
        return loss


def sgd(
    params,
    d_p_list,
    momentum_buffer_list,
    has_sparse_grad=False,
    foreach=None,
    fused=None,
    grad_scale=None,
    found_inf=None,
    *,
    weight_decay,
    momentum,
    lr,
    dampening,
    nesterov,
    maximize,
):
    """One step of :class:`SGD` on lists of tensors, updated in place, with the class's options by keyword.

    Entries of `momentum_buffer_list` that are None are made in the list. `grad_scale` divides the gradients, and nothing
    happens where `found_inf` is not zero. `foreach` and `fused` are accepted.
    """
    if not unscale(d_p_list, grad_scale, found_inf):
        return
    group = {
        "weight_decay": weight_decay,
        "momentum": momentum,
        "dampening": dampening,
        "nesterov": nesterov,
        "maximize": maximize,
        "differentiable": recorded(params, d_p_list),
    }
    _step(params, d_p_list, momentum_buffer_list, lr if group["differentiable"] else number(lr), group)


def _step(params, grads, momentum_buffers, lr, group):
    native = native_step("sgd_step")
    momentum, dampening, weight_decay = group["momentum"], group["dampening"], group["weight_decay"]
    nesterov, maximize = group["nesterov"], group["maximize"]
    if native is not None and not group["differentiable"] and usable(params, grads):
        buffers = momentum_buffers if momentum != 0 else None
        _native_sgd(native, params, grads, buffers, lr, momentum, dampening, weight_decay, nesterov, maximize)
        return
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        grad = -grad if maximize else grad
        if weight_decay != 0:
            grad = grad.add(param, alpha=weight_decay)
        if momentum != 0:
            buffer = momentum_buffers[i]
            if buffer is None:
                buffer = grad.detach().clone()
            elif group["differentiable"]:
                buffer = buffer * momentum + grad * (1 - dampening)
            else:
                buffer.mul_(momentum).add_(grad, alpha=1 - dampening)
            momentum_buffers[i] = buffer
            grad = grad.add(buffer, alpha=momentum) if nesterov else buffer
        add_scaled(param, grad, -lr)


def _native_sgd(native, params, grads, buffers, lr, momentum, dampening, weight_decay, nesterov, maximize):
    if buffers is None:
        native(params, grads, [], lr, 0.0, 0.0, weight_decay, False, maximize)
        return
    # A new buffer takes the whole gradient: on zeros, without dampening, the update does just that.
    fresh = [i for i, buffer in enumerate(buffers) if buffer is None]
    used = [i for i, buffer in enumerate(buffers) if buffer is not None]
    for i in fresh:
        buffers[i] = zeros_like(params[i])
    for chosen, damping in ((fresh, 0.0), (used, dampening)):
        if chosen:
            native(
                [params[i] for i in chosen],
                [grads[i] for i in chosen],
                [buffers[i] for i in chosen],
                lr,
                momentum,
                damping,
                weight_decay,
                nesterov,
                maximize,
            )
