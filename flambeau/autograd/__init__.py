"""Automatic differentiation: `backward`, `grad`, custom `Function`s, modes and hooks.

Operators record a graph of nodes while grad mode is on and an operand requires a gradient; `backward` and `grad` walk it.
"""

import importlib

from .. import _C
from .grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled, set_multithreading_enabled

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]

_SUBMODULES = frozenset(
    "anomaly_mode forward_ad function functional grad_mode graph profiler variable".split()
)
_LAZY = {
    "Function": "function",
    "Variable": "variable",
    "detect_anomaly": "anomaly_mode",
    "set_detect_anomaly": "anomaly_mode",
}


def __getattr__(name):
    if name in _LAZY:
        value = getattr(importlib.import_module("." + _LAZY[name], __name__), name)
    elif name in _SUBMODULES:
        return importlib.import_module("." + name, __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _is_one(value):
    # A GradientEdge is a tuple, yet one thing to differentiate.
    return isinstance(value, _C.Tensor) or hasattr(value, "output_nr")


def _tuple_of(values):
    return (values,) if _is_one(values) else tuple(values)


def _gradients_for(tensors, gradients, name):
    if gradients is None:
        return (None,) * len(tensors)
    gradients = (gradients,) if isinstance(gradients, _C.Tensor) else tuple(gradients)
    if len(gradients) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(gradients)} gradients in {name}")
    return gradients


def backward(
    tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None
):
    """Add the gradient of the sum of `tensors` to the `.grad` of every leaf it depends on.

    tensors: tensors (or `graph.GradientEdge`s) to differentiate. grad_tensors: the "vector" of each vector-Jacobian
        product, of the tensor's shape; None stands for 1 where the tensor has one element.
    retain_graph: keep what the graph saved, so that backward can run again (default: the value of create_graph).
    create_graph: record the backward pass itself, for higher derivatives.
    inputs: accumulate into these only (default: all leaves).

    >>> x = flambeau.tensor([1.0, 2.0], requires_grad=True)
    >>> flambeau.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])
    """
    if grad_variables is not None:
        import warnings

        warnings.warn(
            "`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2
        )
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. "
                "Please only use `grad_tensors`."
            )
        grad_tensors = grad_variables
    tensors = _tuple_of(tensors)
    if inputs is None:
        inputs = ()
    else:
        inputs = _tuple_of(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    if retain_graph is None:
        retain_graph = create_graph
    grads = _gradients_for(tensors, grad_tensors, "backward()")
    _C._run_backward(tensors, grads, retain_graph, create_graph, inputs, True, True)


def grad(
    outputs,
    inputs,
    grad_outputs=None,
    retain_graph=None,
    create_graph=False,
    only_inputs=True,
    allow_unused=None,
    is_grads_batched=False,
    materialize_grads=False,
):
    """Return the gradients of the sum of `outputs` with respect to `inputs`, as a tuple; `.grad` stays untouched.

    outputs, inputs: tensors or `graph.GradientEdge`s. grad_outputs: the vectors of the products, None for scalar outputs.
    retain_graph, create_graph: as in `backward`. allow_unused: give None for an input that the outputs do not depend
        on, rather than raise. materialize_grads: give zeros there.
    is_grads_batched: the first dimension of each grad_outputs runs over separate products; so does the results'.

    >>> x = flambeau.tensor(3.0, requires_grad=True)
    >>> flambeau.autograd.grad(x**3, x)
    (tensor(27.),)
    """
    if materialize_grads:
        if allow_unused is False:
            raise ValueError(
                "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
            )
        allow_unused = True
    outputs = _tuple_of(outputs)
    inputs = _tuple_of(inputs)
    if not only_inputs:
        import warnings

        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for other "
            "parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    grad_outputs = _gradients_for(outputs, grad_outputs, "grad()")
    if retain_graph is None:
        retain_graph = create_graph
    if is_grads_batched:
        results = _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, bool(allow_unused))
    else:
        results = _C._run_backward(
            outputs, grad_outputs, retain_graph, create_graph, inputs, bool(allow_unused), False
        )
    if materialize_grads:
        results = tuple(
            _zeros_like(one, grad_outputs if is_grads_batched else None) if result is None else result
            for one, result in zip(inputs, results, strict=True)
        )
    return results


def _zeros_like(one, batches):
    if not isinstance(one, _C.Tensor):
        raise RuntimeError("materialize_grads cannot be used when the given input is a GradientEdge")
    import flambeau

    zeros = flambeau.zeros_like(one)
    if batches:
        zeros = zeros.expand(next(len(g) for g in batches if g is not None), *one.shape)
    return zeros


def _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused):
    counts = {len(g) for g in grad_outputs if g is not None}
    if len(counts) != 1:
        raise RuntimeError(
            "is_grads_batched=True needs grad_outputs with one common size of their first dimension"
        )
    count = counts.pop()
    from .._transforms import BatchLevel

    if not count:
        raise RuntimeError("is_grads_batched=True needs at least one row in grad_outputs")
    with BatchLevel(count) as level:
        grads = _C._run_backward(
            outputs,
            tuple(None if g is None else level.wrap(g, 0) for g in grad_outputs),
            retain_graph,
            create_graph,
            inputs,
            allow_unused,
            False,
        )
        found = []
        for grad in grads:
            if grad is None:
                found.append(None)
                continue
            value, dim = level.unwrap(grad)
            found.append(value.expand(count, *value.shape) if dim is None else value.movedim(dim, 0))
    return tuple(found)


def _profiler_enabled() -> bool:
    """Whether a profile is listening."""
    from flambeau import profiler

    return profiler._listening is not None


def _disable_profiler() -> None:
    """End the profile that is listening, whose owner forgot it."""
    from flambeau import profiler

    if profiler._listening is not None:
        profiler._listening._hear_out()


# A function and its module share a name: the module is loaded at once, so that no later import of it hides the function.
from .gradcheck import gradcheck, gradgradcheck  # noqa: E402
