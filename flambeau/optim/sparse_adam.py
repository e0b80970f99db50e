"""SparseAdam."""

import flambeau

from ._rows import with_values
from ._rules import check_betas, check_lr, number, run_closure, zeros_like
from .optimizer import Optimizer, _use_grad_for_differentiable

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam for sparse gradients: only the elements that a gradient specifies are updated, and so are their averages.

    The others keep their averages as they are, where Adam lets them decay.

    Args:
        params: strided tensors whose gradients are sparse COO tensors.
        lr: learning rate. Default: 1e-3.
        betas: shares of the averages of gradients and their squares that are kept. Default: (0.9, 0.999).
        eps: added to the denominator. Default: 1e-8.
        maximize: go uphill. Default: False.

    Raises ValueError for sparse parameters, RuntimeError at a step with a strided gradient.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        check_lr(lr)
        if not 0.0 < eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        members = [param for group in self.param_groups for param in group["params"]]
        if any(param.is_complex() for param in members):
            raise ValueError("SparseAdam does not support complex parameters")
        sparse = [
            [place, k]
            for place, group in enumerate(self.param_groups)
            for k, param in enumerate(group["params"])
            if param.layout is not flambeau.strided
        ]
        if sparse:
            raise ValueError(
                f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors"
            )

    @_use_grad_for_differentiable
    def step(self, closure=None):
        """Update the parameters once; `closure` computes the loss anew, and its result is returned."""
        loss = run_closure(closure)
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                if not param.grad.is_sparse:
                    raise RuntimeError(
                        "SparseAdam does not support dense gradients, please consider Adam instead"
                    )
                state = self.state[param]
                if not state:
                    state["step"] = 0
                    state["exp_avg"] = zeros_like(param)
                    state["exp_avg_sq"] = zeros_like(param)
                state["step"] += 1
                _update(group, param, param.grad, state, number(group["lr"]))
        return loss


def _update(group, param, grad, state, lr):
    grad = -grad if group["maximize"] else grad
    grad = grad.coalesce()
    values = grad._values()
    if values.numel() == 0:
        return
    beta1, beta2 = group["betas"]

    def move(average, towards, beta):
        """Moves an average at the gradient's places, and returns its values there."""
        before = average.sparse_mask(grad)._values()
        step = (towards - before).mul_(1 - beta)
        average.add_(with_values(grad, step))
        return before.add_(step)

    mean = move(state["exp_avg"], values, beta1)
    square = move(state["exp_avg_sq"], values * values, beta2)
    size = lr * (1 - beta2 ** state["step"]) ** 0.5 / (1 - beta1 ** state["step"])
    param.add_(with_values(grad, mean.div_(square.sqrt_().add_(group["eps"])).mul_(-size)))
