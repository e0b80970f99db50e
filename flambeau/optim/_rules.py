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

    @staticmethod
    def _weight_decay(group, param, grad, lr):
        decay = group.get("weight_decay", 0)
        if decay == 0:
            return grad
        if group.get("decoupled_weight_decay", False):
            param.mul_(1 - lr * decay)
            return grad
        return grad.add(param, alpha=decay)

    @classmethod
    def _check_grad(cls, grad):
        if grad.is_sparse:
            raise RuntimeError(f"{cls.__name__} does not support sparse gradients")

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
            self._apply_rule(group, param, grad, state, lr)

    @classmethod
    def _apply_rule(cls, group, param, grad, state, lr):
        if "step" in state:
            state["step"] += 1
        if group.get("maximize", False):
            grad = -grad
        if param.is_complex():
            state = {k: real_view(v) if isinstance(v, flambeau.Tensor) else v for k, v in state.items()}
            param, grad = real_view(param), real_view(grad)
        grad = cls._weight_decay(group, param, grad, lr)
        cls._update(group, param, grad, state, lr)


def step_lists(optimizer, params, grads, states, *, grad_scale=None, found_inf=None, **group):
    """One step of an optimizer's class on lists: what the functional forms (``optim.rprop.rprop``) do.

    `states` has a list of tensors for each name of the class's state, parallel to `params`, or an empty list for one
    that these options do not use. All are updated in place. `grad_scale` (which the gradients are divided by) and
    `found_inf` (nothing is done where it is not zero) come from a gradient scaler.
    """
    if not all(isinstance(step, flambeau.Tensor) for step in states.get("step", ())):
        raise RuntimeError(
            "API has changed, `state_steps` argument must contain a list of singleton tensors, got "
            f"{[type(step).__name__ for step in states['step']]}"
        )
    if not unscale(grads, grad_scale, found_inf):
        return
    differentiable = group.get("differentiable", False)
    lr = group["lr"] if differentiable else number(group["lr"])
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        optimizer._check_grad(grad)
        given = {name: tensors[i] for name, tensors in states.items() if tensors}
        # The graph may need the values that the rule writes: the caller's tensors only receive them.
        state = {name: tensor.clone() for name, tensor in given.items()} if differentiable else given
        optimizer._apply_rule(group, param, grad, state, lr)
        if differentiable:
            for name, tensor in given.items():
                tensor.copy_(state[name])


def unscale(grads, grad_scale, found_inf):
    """Divides the gradients by the scaler's factor; False where it found an overflow, and the step is left out."""
    if found_inf is not None and number(found_inf) != 0:
        return False
    if grad_scale is not None:
        for grad in grads:
            grad.div_(grad_scale)
    return True


def recorded(*lists):
    """Whether autograd would record a write to one of these tensors, which the native steps would hide from it."""
    return flambeau.is_grad_enabled() and any(tensor.requires_grad for tensors in lists for tensor in tensors)
