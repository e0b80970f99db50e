"""Muon."""

import math

import flambeau

from ._rules import RuleOptimizer, check_nonnegative, zeros_like

__all__ = ["Muon"]


def _orthogonalized(grad, coefficients, steps, eps):
    """The nearest (semi-)orthogonal matrix, roughly, by Newton-Schulz iterations of degree five in bfloat16."""
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if grad.dim() != 2:
        raise ValueError("Input tensor gradient must be a 2D matrix")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    x = grad.bfloat16()
    tall = x.size(0) > x.size(1)
    if tall:
        x = x.t()
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.t()
        polynomial = flambeau.addmm(gram, gram, gram, beta=b, alpha=c)
        x = flambeau.addmm(x, polynomial, x, beta=a)
    return x.t() if tall else x


class Muon(RuleOptimizer):
    """Momentum whose direction is made orthogonal, for weight matrices (Jordan, 2024).

    Args:
        lr: learning rate. Default: 1e-3.
        weight_decay: shrinks the parameters by ``lr * weight_decay``. Default: 0.1.
        momentum: share of the running mean that is kept. Default: 0.95.
        nesterov: look one step ahead. Default: True.
        ns_coefficients, ns_steps, eps: of the orthogonalisation.
        adjust_lr_fn: 'original' (default) scales the rate by the matrix's shape, 'match_rms_adamw' as AdamW would.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        weight_decay=0.1,
        momentum=0.95,
        nesterov=True,
        ns_coefficients=(3.4445, -4.7750, 2.0315),
        eps=1e-7,
        ns_steps=5,
        adjust_lr_fn=None,
    ):
        if isinstance(lr, flambeau.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 <= lr:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not 0.0 <= momentum:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        check_nonnegative("weight_decay", weight_decay)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.dim() != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{param.size()}"
                    )

    def _init_state(self, group, param, state):
        state["momentum_buffer"] = zeros_like(param)

    @classmethod
    def _check_grad(cls, grad):
        if grad.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        super()._check_grad(grad)

    @staticmethod
    def _weight_decay(group, param, grad, lr):
        return grad

    @staticmethod
    def _update(group, param, grad, state, lr):
        buffer = state["momentum_buffer"].lerp_(grad, 1 - group["momentum"])
        update = grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
        update = _orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, cols = param.shape[:2]
        if group["adjust_lr_fn"] == "match_rms_adamw":
            rate = lr * 0.2 * math.sqrt(max(rows, cols))
        else:
            rate = lr * math.sqrt(max(1, rows / cols))
        param.mul_(1 - lr * group["weight_decay"])
        param.add_(update, alpha=-rate)
