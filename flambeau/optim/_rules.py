"""What the optimizers share: checks of their options, and a step that applies one rule to every parameter."""

import flambeau

from .optimizer import Optimizer, _use_grad_for_differentiable


def check_lr(lr, allow_list=False):
    """The learning rate: a number that is not negative, or a tensor with one element."""
    if isinstance(lr, flambeau.Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not 0.0 <= lr:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_nonnegative(name, value):
    if not 0.0 <= value:
        raise ValueError(f"Invalid {name} value: {value}")


def check_betas(betas):
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def check_options(fused, foreach, differentiable):
    """`foreach` and `fused` name PyTorch's implementations; here there is one, but their rules hold."""
    if fused:
        if differentiable:
            raise RuntimeError("`fused` does not support `differentiable`")
        if foreach:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def number(value):
    """A tensor's value, or the number itself."""
    return value.item() if isinstance(value, flambeau.Tensor) else value


def add_scaled(tensor, other, scale):
    """``tensor += scale * other``, where scale may be a tensor."""
    if isinstance(scale, flambeau.Tensor):
        return tensor.add_(other * scale)
    return tensor.add_(other, alpha=scale)


def addcdiv_scaled(tensor, numerator, denominator, scale):
    """``tensor += scale * numerator / denominator``, where scale may be a tensor."""
    if isinstance(scale, flambeau.Tensor):
        return tensor.add_(numerator / denominator * scale)
    return tensor.addcdiv_(numerator, denominator, value=scale)


def zeros_like(param):
    return flambeau.zeros_like(param, memory_format=flambeau.preserve_format)


def step_count():
    return flambeau.tensor(0.0, dtype=flambeau.float32)


def real_view(tensor):
    """Complex tensors are updated as pairs of real numbers."""
    return flambeau.view_as_real(tensor) if tensor.is_complex() else tensor


def run_closure(closure):
    if closure is None:
        return None
    with flambeau.enable_grad():
        return closure()


class RuleOptimizer(Optimizer):
    """An optimizer that treats every parameter by itself.

    Subclasses define ``_init_state(group, param, state)``, which fills an empty state, and
    ``_update(group, param, grad, state, lr)``. Before it, the step count has been raised, and maximisation and (L2)
    weight decay have been applied to the gradient.
    """

    def _weight_decay(self, group, param, grad, lr):
        decay = group.get("weight_decay", 0)
        if decay == 0:
            return grad
        if group.get("decoupled_weight_decay", False):
            param.mul_(1 - lr * decay)
            return grad
        return grad.add(param, alpha=decay)

    def _check_grad(self, grad):
        if grad.is_sparse:
            raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")

    @_use_grad_for_differentiable
    def step(self, closure=None):
        """Update the parameters once; `closure` computes the loss anew, and its result is returned."""
        loss = run_closure(closure)
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group):
        differentiable = group.get("differentiable", False)
        lr = group["lr"] if differentiable else number(group["lr"])
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            self._check_grad(grad)
            state = self.state[param]
            if not state:
                self._init_state(group, param, state)
            if differentiable:
                # The graph may need this step's values: the next one works on copies.
                state.update({k: v.clone() for k, v in state.items() if isinstance(v, flambeau.Tensor)})
            if "step" in state:
                state["step"] += 1
            if group.get("maximize", False):
                grad = -grad
            if param.is_complex():
                state = {k: real_view(v) if isinstance(v, flambeau.Tensor) else v for k, v in state.items()}
                param, grad = real_view(param), real_view(grad)
            grad = self._weight_decay(group, param, grad, lr)
            self._update(group, param, grad, state, lr)
