"""The fused native steps: one pass over the memory of all parameters."""

import flambeau


def native_step(name):
    """The native operator `name` of `flambeau._ops.optim`."""
    steps = getattr(flambeau._ops, "optim", None)
    return getattr(steps, name, None)


def usable(params, grads):
    """Whether the native steps take these tensors: dense and real, in host memory, gradients of the same dtype."""
    return all(
        param.is_floating_point()
        and param.dtype == grad.dtype
        and param.device.type == "cpu"
        and not grad.is_sparse
        for param, grad in zip(params, grads, strict=True)
    )
