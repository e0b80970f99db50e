"""Derivatives of fused backward operators, taken from the same formula written with differentiable operators."""

import flambeau

from .. import _C


def vjp_through(formula, inputs, grads, needs):
    """Gradients of ``formula(*inputs)`` with respect to the inputs, for the gradients `grads` of its results.

    Entries of `inputs` may be None; `needs` says which gradients are wanted. A result whose gradient is None does not count.
    """
    recording = flambeau.is_grad_enabled()
    with flambeau.enable_grad():
        # Views cut the inputs off from each other, should one have been computed from another.
        views = [None if x is None else x.view_as(x) if x.requires_grad else _C._leaf(x) for x in inputs]
        outputs = formula(*views)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o is not None and g is not None]
        wanted = [i for i, x in enumerate(views) if x is not None and needs[i]]
        if not pairs or not wanted:
            return (None,) * len(inputs)
        found = flambeau.autograd.grad(
            [o for o, _ in pairs],
            [views[i] for i in wanted],
            [g for _, g in pairs],
            create_graph=recording,
            allow_unused=True,
        )
    result = [None] * len(inputs)
    for i, g in zip(wanted, found, strict=True):
        result[i] = g
    return tuple(result)
