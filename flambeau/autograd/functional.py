"""Derivatives of functions: Jacobians, Hessians and their products with vectors.

Every function here takes a Python function of tensors and the point to differentiate at. `create_graph=True` makes the
results differentiable in turn; `strict=True` raises where an output does not depend on an input, instead of giving zeros.
"""

from .. import _C
from . import grad as _grad
from .grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _as_tuple(value, what, function):
    if isinstance(value, tuple):
        is_tuple, values = True, value
    elif isinstance(value, list):
        is_tuple, values = True, tuple(value)
    else:
        is_tuple, values = False, (value,)
    for i, v in enumerate(values):
        if not isinstance(v, _C.Tensor):
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the value at index {i} "
                f"has type {type(v)}."
            )
    return is_tuple, values


def _inputs(inputs, create_graph):
    """Copies to differentiate with respect to: part of the caller's graph only where that is to be differentiated."""
    return tuple(
        i.view_as(i) if create_graph and i.requires_grad else i.detach().clone().requires_grad_()
        for i in inputs
    )


def _call(func, inputs, function):
    return _as_tuple(func(*inputs), "outputs of the user-provided function", function)


def _scalar(outputs, is_tuple, function):
    if is_tuple or outputs[0].numel() != 1:
        raise RuntimeError(
            f"The function given to {function} should return a single Tensor with a single element"
        )
    return outputs[0]


def _finish(values, create_graph):
    return values if create_graph else tuple(v.detach() for v in values)


def _result(values, is_tuple):
    return tuple(values) if is_tuple else values[0]


def _fill(grads, inputs, strict, what):
    """Zeros where there is no gradient; an error with strict."""
    import flambeau

    filled = []
    for i, (g, x) in enumerate(zip(grads, inputs, strict=True)):
        if g is None:
            if strict:
                raise RuntimeError(f"{what} is independent of input {i}. This is not allowed in strict mode.")
            g = flambeau.zeros_like(x)
        filled.append(g)
    return tuple(filled)


def _vector(v, like, name, function):
    """The vector of a product: checked against the shapes of `like`, or 1 for a single element."""
    import flambeau

    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"The vector {name} can only be None if the corresponding tensor of {function} has one element."
            )
        return (flambeau.ones_like(like[0]),)
    _, vectors = _as_tuple(v, name, function)
    if len(vectors) != len(like):
        raise RuntimeError(
            f"{name} is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
        )
    for i, (a, b) in enumerate(zip(vectors, like, strict=True)):
        if a.shape != b.shape:
            raise RuntimeError(
                f"Entry {i} of {name} has invalid size: should be {b.shape} but got {a.shape}."
            )
    return vectors


def _products(outputs, inputs, vectors, create_graph, strict, retain_graph=None):
    """The gradients of sum(vector * output), zeros for what does not depend."""
    used = [(o, v) for o, v in zip(outputs, vectors, strict=True) if o.requires_grad]
    if len(used) < len(outputs) and strict:
        raise RuntimeError(
            "An output of the user-provided function does not require gradients. This is not allowed in strict mode."
        )
    if used:
        outs, vecs = zip(*used, strict=True)
        grads = _grad(
            outs, inputs, vecs, allow_unused=True, create_graph=create_graph, retain_graph=retain_graph
        )
    else:
        grads = (None,) * len(inputs)
    return _fill(grads, inputs, strict, "The output of the user-provided function")


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """Return `(func(*inputs), v^T J)`: one gradient per input.

    v: as the output in shape; may be left out where the output has one element.

    >>> x = flambeau.tensor([1.0, 2.0])
    >>> flambeau.autograd.functional.vjp(lambda x: (x * x).sum(), x)[1]
    tensor([2., 4.])
    """
    with enable_grad():
        inputs_tuple, inputs = _as_tuple(inputs, "inputs", "vjp")
        inputs = _inputs(inputs, create_graph)
        outputs_tuple, outputs = _call(func, inputs, "vjp")
        vectors = _vector(v, outputs, "v", "the user-provided function's output")
        grads = _products(outputs, inputs, vectors, create_graph, strict)
    outputs, grads = _finish(outputs, create_graph), _finish(grads, create_graph)
    return _result(outputs, outputs_tuple), _result(grads, inputs_tuple)


def _jvp(outputs, inputs, vectors, create_graph, strict):
    """J v from two backward passes: u -> u^T J is linear in u, and its derivative at any u in direction v is J v."""
    import flambeau

    # Not zeros: some rules pass through the logarithm of u.
    dummies = tuple(flambeau.ones_like(o, requires_grad=True) for o in outputs)
    grads = _products(outputs, inputs, dummies, True, strict)
    return _products(grads, dummies, vectors, create_graph, False)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """Return `(func(*inputs), J v)`: one tensor per output.

    v: as the inputs in shape; may be left out where the input has one element.

    >>> x = flambeau.tensor([1.0, 2.0])
    >>> flambeau.autograd.functional.jvp(lambda x: x * x, x, flambeau.ones(2))[1]
    tensor([2., 4.])
    """
    with enable_grad():
        _, inputs = _as_tuple(inputs, "inputs", "jvp")
        vectors = _vector(v, inputs, "v", "inputs")
        inputs = _inputs(inputs, create_graph)
        outputs_tuple, outputs = _call(func, inputs, "jvp")
        products = _jvp(outputs, inputs, vectors, create_graph, strict)
    outputs, products = _finish(outputs, create_graph), _finish(products, create_graph)
    return _result(outputs, outputs_tuple), _result(products, outputs_tuple)


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """Return the Jacobian: for an output of shape (O...) and an input of shape (I...), a tensor of shape (O..., I...).

    With several inputs a tuple over inputs, with several outputs a tuple over outputs of that.

    vectorize: compute all rows at once, by vmap. strategy: "reverse-mode", or "forward-mode" (with vectorize=True), which is
        faster where there are fewer inputs than outputs.

    >>> flambeau.autograd.functional.jacobian(lambda x: x * x, flambeau.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    import flambeau

    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs than '
            'inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs, create_graph, strict, vectorize)
    if vectorize and strict:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. Please "
            "either set `strict=False` or `vectorize=False`."
        )
    with enable_grad():
        inputs_tuple, inputs = _as_tuple(inputs, "inputs", "jacobian")
        inputs = _inputs(inputs, create_graph)
        outputs_tuple, outputs = _call(func, inputs, "jacobian")
        rows = []
        for output in outputs:
            flat = output.reshape(-1)
            if vectorize:
                rows.append(
                    _result(
                        _finish(_rows_at_once(flat, output, inputs, create_graph), create_graph), inputs_tuple
                    )
                )
                continue
            columns = [[] for _ in inputs]
            for k in range(flat.numel()):
                one = flambeau.zeros_like(flat)
                one[k] = 1
                grads = _products((flat,), inputs, (one,), create_graph, strict, retain_graph=True)
                for column, g in zip(columns, grads, strict=True):
                    column.append(g)
            row = tuple(
                flambeau.stack(c).reshape(output.shape + x.shape)
                if c
                else output.new_zeros(output.shape + x.shape)
                for c, x in zip(columns, inputs, strict=True)
            )
            rows.append(_result(_finish(row, create_graph), inputs_tuple))
    return _result(rows, outputs_tuple)


def _rows_at_once(flat, output, inputs, create_graph):
    """The Jacobian of one output, all its rows in one backward pass."""
    import flambeau

    if not flat.requires_grad or not flat.numel():
        return tuple(output.new_zeros(output.shape + x.shape) for x in inputs)
    grads = _grad(
        flat,
        inputs,
        flambeau.eye(flat.numel(), dtype=flat.dtype),
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        is_grads_batched=True,
    )
    return tuple(
        output.new_zeros(output.shape + x.shape) if g is None else g.reshape(output.shape + x.shape)
        for g, x in zip(grads, inputs, strict=True)
    )


def _forward_jacobian(func, inputs, create_graph, strict, vectorize):
    """Column by column, in forward mode."""
    if strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported together '
            '(yet). Please either set `strict=False` or `strategy="reverse-mode"`.'
        )
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for `vectorize=True`."
        )
    if create_graph:
        raise NotImplementedError(
            'torch.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are not supported '
            'together (yet). Please either set `create_graph=False` or `strategy="reverse-mode"`.'
        )
    from ..func import jacfwd

    inputs_tuple, inputs = _as_tuple(inputs, "inputs", "jacobian")
    outputs_are_tuple = []

    def outputs_of(*points):
        is_tuple, outputs = _call(func, points, "jacobian")
        outputs_are_tuple[:] = [is_tuple]
        return outputs

    blocks = jacfwd(outputs_of, tuple(range(len(inputs))))(*inputs)
    rows = [_result(row, inputs_tuple) for row in blocks]
    return _result(rows, outputs_are_tuple[0])


def hessian(
    func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"
):
    """Return the Hessian of a function with one result: shape (I..., I...), or a tuple of tuples for several inputs.

    >>> flambeau.autograd.functional.hessian(lambda x: (x**3).sum(), flambeau.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    import flambeau

    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    inputs_tuple, inputs = _as_tuple(inputs, "inputs", "hessian")

    def gradient(*points):
        is_tuple, outputs = _call(func, points, "hessian")
        output = _scalar(outputs, is_tuple, "hessian").reshape(())
        return _products((output,), points, (flambeau.ones_like(output),), True, strict)

    if outer_jacobian_strategy == "forward-mode":
        from ..func import grad as gradient_of

        def scalar(*points):
            is_tuple, outputs = _call(func, points, "hessian")
            return _scalar(outputs, is_tuple, "hessian").reshape(())

        gradient = gradient_of(scalar, tuple(range(len(inputs))))
    blocks = jacobian(
        gradient,
        inputs,
        create_graph=create_graph,
        strict=strict,
        vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )
    return blocks if inputs_tuple else blocks[0][0]


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """Return `(func(*inputs), v^T H)` for a function with one result."""
    import flambeau

    with enable_grad():
        inputs_tuple, inputs = _as_tuple(inputs, "inputs", "vhp")
        inputs = _inputs(inputs, create_graph)
        vectors = _vector(v, inputs, "v", "inputs")
        is_tuple, outputs = _call(func, inputs, "vhp")
        output = _scalar(outputs, is_tuple, "vhp")
        gradient = _products((output,), inputs, (flambeau.ones_like(output),), True, strict)
        products = _products(gradient, inputs, vectors, create_graph, strict)
    return _finish((output,), create_graph)[0], _result(_finish(products, create_graph), inputs_tuple)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """Return `(func(*inputs), H v)` for a function with one result; `vhp` is cheaper and gives the same."""
    import flambeau

    with enable_grad():
        inputs_tuple, inputs = _as_tuple(inputs, "inputs", "hvp")
        inputs = _inputs(inputs, create_graph)
        vectors = _vector(v, inputs, "v", "inputs")
        is_tuple, outputs = _call(func, inputs, "hvp")
        output = _scalar(outputs, is_tuple, "hvp")
        gradient = _products((output,), inputs, (flambeau.ones_like(output),), True, strict)
        products = _jvp(gradient, inputs, vectors, create_graph, strict)
    return _finish((output,), create_graph)[0], _result(_finish(products, create_graph), inputs_tuple)
