"""Adafactor."""

import flambeau

from ._rules import RuleOptimizer, check_nonnegative, step_count

__all__ = ["Adafactor"]


class Adafactor(RuleOptimizer):
    """Adam's second moment kept as row and column means only (Shazeer and Stern, 2018).

    Args:
        lr: largest relative step. Default: 1e-2.
        beta2_decay: power of the step count in the second moment's decay. Default: -0.8.
        eps: added to the squared gradients (None: the dtype's machine epsilon), and least scale of the parameters.
        d: the update's root mean square is limited to this. Default: 1.
        weight_decay: shrinks the parameters by ``lr * weight_decay``. Default: 0.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        beta2_decay=-0.8,
        eps=(None, 1e-3),
        d=1.0,
        weight_decay=0.0,
        *,
        foreach=None,
        maximize=False,
    ):
        if isinstance(lr, flambeau.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 <= lr:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not 0.0 >= beta2_decay:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not 0.0 <= eps[0]:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not 0.0 <= eps[1]:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        check_nonnegative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _init_state(self, group, param, state):
        if param.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        state["step"] = step_count()
        if param.dim() > 1:
            state["row_var"] = param.new_zeros((*param.shape[:-1], 1))
            state["col_var"] = param.new_zeros((*param.shape[:-2], 1, param.shape[-1]))
        else:
            state["variance"] = flambeau.zeros_like(param, memory_format=flambeau.preserve_format)

    @staticmethod
    def _weight_decay(group, param, grad, lr):
        return grad  # comes later: the step's size looks at the parameters first

    @staticmethod
    def _update(group, param, grad, state, lr):
        eps1, eps2 = group["eps"]
        if eps1 is None:
            eps1 = flambeau.finfo(param.dtype).eps
        step = state["step"].item()
        one_minus_beta2 = step ** group["beta2_decay"]
        rho = min(lr, 1 / (step**0.5))
        alpha = max(eps2, param.norm(2).item() / (param.numel() ** 0.5)) * rho
        if group["weight_decay"] != 0:
            param.mul_(1 - lr * group["weight_decay"])
        if grad.dim() > 1:
            rows = grad.norm(dim=-1, keepdim=True).square_().div_(grad.size(-1))
            state["row_var"].lerp_(rows, one_minus_beta2)
            cols = grad.norm(dim=-2, keepdim=True).square_().div_(grad.size(-2))
            state["col_var"].lerp_(cols, one_minus_beta2)
            variance = state["row_var"] @ state["col_var"]
            variance.div_(state["row_var"].mean(dim=-2, keepdim=True).clamp_(min=eps1))
        else:
            state["variance"].lerp_(grad * grad, one_minus_beta2)
            variance = state["variance"].clone()
        update = variance.clamp_(min=eps1 * eps1).rsqrt_().mul_(grad)
        limit = max(1.0, update.norm(2).item() / ((update.numel() ** 0.5) * group["d"]))
        param.add_(update, alpha=-alpha / limit)
