"""Stochastic gradient descent."""

from ._native import native_step, usable
from ._rules import add_scaled, check_lr, check_nonnegative, check_options, number, run_closure, zeros_like
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
            sgd(
                params,
                grads,
                buffers,
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"] if group["differentiable"] else number(group["lr"]),
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=group["maximize"],
                differentiable=group["differentiable"],
            )
            if buffers is not None:
                for param, buffer in zip(params, buffers, strict=True):
                    self.state[param]["momentum_buffer"] = buffer
        return loss


def sgd(
    params,
    grads,
    momentum_buffers,
    *,
    weight_decay,
    momentum,
    lr,
    dampening,
    nesterov,
    maximize,
    differentiable=False,
):
    """One step on lists of tensors. Entries of `momentum_buffers` that are None are made in the list."""
    native = native_step("sgd_step")
    if native is not None and not differentiable and usable(params, grads):
        _native_sgd(
            native,
            params,
            grads,
            momentum_buffers,
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov,
            maximize,
        )
        return
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        grad = -grad if maximize else grad
        if weight_decay != 0:
            grad = grad.add(param, alpha=weight_decay)
        if momentum != 0:
            buffer = momentum_buffers[i]
            if buffer is None:
                buffer = grad.detach().clone()
            elif differentiable:
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
