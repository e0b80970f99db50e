"""Checks derivatives against finite differences.

Slow mode compares whole Jacobians, entry by entry. Fast mode compares their product with random vectors on both sides,
which takes one backward pass and one difference quotient per input.

Complex inputs and outputs follow the library's convention, that the gradient of a real L is dL/dRe + i dL/dIm: the
numerical derivative is taken along the real and the imaginary axis of every element.
"""

from .. import _C
from . import grad as _grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A derivative is wrong."""


def _tensors(values):
    return (values,) if isinstance(values, _C.Tensor) else tuple(values)


def _differentiable_outputs(function, inputs):
    outputs = function(*inputs)
    outputs = _tensors(outputs) if isinstance(outputs, (_C.Tensor, tuple, list)) else ()
    return tuple(o for o in outputs if isinstance(o, _C.Tensor) and o.requires_grad)


def _as_real(t):
    """The elements as one row of real numbers: complex ones as pairs."""
    import flambeau

    t = t.detach()
    return (flambeau.view_as_real(t.contiguous()) if t.is_complex() else t).reshape(-1)


def _check_inputs(inputs):
    import warnings

    import flambeau

    checked = [x for x in inputs if isinstance(x, _C.Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True."
        )
    for i, x in enumerate(inputs):
        if not (isinstance(x, _C.Tensor) and x.requires_grad):
            continue
        if x.dtype not in (flambeau.float64, flambeau.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. "
                "This check will likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
        if any(stride == 0 and size > 1 for size, stride in zip(x.shape, x.stride(), strict=True)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are non-overlapping "
                "to be able to compute the numerical gradients correctly. You should call .contiguous on the input "
                "before passing it to gradcheck."
            )
        x.retain_grad()
    return checked


class _Point:
    """The function at its inputs, and near them."""

    def __init__(self, function, inputs, eps):
        self.function, self.inputs, self.eps = function, inputs, eps
        self.variables = [x for x in inputs if isinstance(x, _C.Tensor) and x.requires_grad]

    def outputs(self):
        return _differentiable_outputs(self.function, self.inputs)

    def _evaluate(self):
        return [_as_real(o).clone() for o in self.outputs()]

    def quotient(self, variable, direction):
        """(f(x + eps d) - f(x - eps d)) / (2 eps) for every output, as rows of real numbers."""
        import flambeau

        with flambeau.no_grad():
            original = variable.detach().clone()
            try:
                variable.data.copy_(original + self.eps * direction)
                above = self._near()
                variable.data.copy_(original - self.eps * direction)
                below = self._near()
            finally:
                variable.data.copy_(original)
        return [(a - b) * (0.5 / self.eps) for a, b in zip(above, below, strict=True)]

    def _near(self):
        import flambeau

        with flambeau.enable_grad():
            return self._evaluate()


def _unit_directions(variable):
    """One direction per real degree of freedom of the variable, in the order of `_as_real`."""
    import flambeau

    for k in range(variable.numel()):
        for unit in (1.0, 1j) if variable.is_complex() else (1.0,):
            direction = flambeau.zeros(variable.numel(), dtype=variable.dtype)
            direction[k] = unit
            yield direction.reshape(variable.shape)


def _analytic_rows(outputs, index, variables, allow_unused):
    """For every real component of one output: its gradient with respect to every variable, as rows of real numbers."""
    import flambeau

    output = outputs[index]
    for cotangent in _unit_directions(output):
        grads = _grad(output, variables, cotangent, retain_graph=True, allow_unused=allow_unused)
        yield [
            flambeau.zeros(_as_real(x).numel(), dtype=_as_real(x).dtype) if g is None else _as_real(g)
            for g, x in zip(grads, variables, strict=True)
        ]


def _close(a, n, rtol, atol):
    import flambeau

    return flambeau.allclose(a, n.to(a.dtype), rtol=rtol, atol=atol)


def _mismatch(output, variable, analytical, numerical, complex_part=""):
    return GradcheckError(
        f"Jacobian mismatch for output {output} with respect to input {variable},\n"
        f"numerical:{numerical}\nanalytical:{analytical}\n{complex_part}"
    )


def _check_slow(point, rtol, atol, nondet_tol):
    import flambeau

    outputs = point.outputs()
    indices = [i for i, x in enumerate(point.inputs) if isinstance(x, _C.Tensor) and x.requires_grad]
    numerical = []  # per variable, per output: (freedom of the variable, components of the output)
    for variable in point.variables:
        columns = [point.quotient(variable, d) for d in _unit_directions(variable)]
        numerical.append(
            [flambeau.stack([c[o] for c in columns]) if columns else None for o in range(len(outputs))]
        )
    for o in range(len(outputs)):
        rows = list(_analytic_rows(outputs, o, point.variables, True))
        again = list(_analytic_rows(outputs, o, point.variables, True))
        for v, index in enumerate(indices):
            if not rows or numerical[v][o] is None:
                continue
            analytical = flambeau.stack([row[v] for row in rows]).t()
            repeated = flambeau.stack([row[v] for row in again]).t()
            if not flambeau.allclose(analytical, repeated, rtol=0.0, atol=nondet_tol):
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    f"gives different values, although analytical gradient matches numerical gradient. The tolerance for "
                    f"nondeterminism was {nondet_tol}. (output {o}, input {index})"
                )
            if not _close(analytical, numerical[v][o], rtol, atol):
                raise _mismatch(o, index, analytical, numerical[v][o])


def _random_unit(like, generator):
    """A random direction of length one."""
    import flambeau

    real_shape = (*like.shape, 2) if like.is_complex() else like.shape
    real = flambeau.rand(real_shape, dtype=flambeau.float64, generator=generator) + 0.1
    real = real / real.square().sum().sqrt().clamp(min=1e-12)
    out = flambeau.view_as_complex(real) if like.is_complex() else real
    return out.to(like.dtype)


def _check_fast(point, rtol, atol, nondet_tol):
    import flambeau

    generator = flambeau.Generator()
    generator.manual_seed(0)
    outputs = point.outputs()
    indices = [i for i, x in enumerate(point.inputs) if isinstance(x, _C.Tensor) and x.requires_grad]
    for v, (variable, index) in enumerate(zip(point.variables, indices, strict=True)):
        if variable.numel() == 0:
            continue
        direction = _random_unit(variable, generator)
        moved = point.quotient(variable, direction)
        for o, output in enumerate(outputs):
            if output.numel() == 0:
                continue
            cotangent = _random_unit(output, generator)
            grads = [
                _grad(output, point.variables[v], cotangent, retain_graph=True, allow_unused=True)[0]
                for _ in range(2)
            ]
            analytical, repeated = (
                flambeau.zeros((), dtype=flambeau.float64)
                if g is None
                else (_as_real(g) * _as_real(direction)).sum().to(flambeau.float64)
                for g in grads
            )
            numerical = (moved[o] * _as_real(cotangent)).sum()
            if not flambeau.allclose(analytical, repeated, rtol=0.0, atol=nondet_tol):
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    f"gives different values. The tolerance for nondeterminism was {nondet_tol}. (output {o}, input {index})"
                )
            if not _close(analytical, numerical, rtol, atol):
                raise _mismatch(
                    o,
                    index,
                    analytical,
                    numerical,
                    "The products with random vectors differ. Run with fast_mode=False for the Jacobians.",
                )


def _check_undefined(point):
    """A derivative must cope with outputs that nobody used: their gradient is undefined, and counts as zero."""
    import flambeau

    outputs = point.outputs()
    zeros = [flambeau.zeros_like(o) for o in outputs]
    for skipped in range(len(outputs) if len(outputs) > 1 else 0):
        used = [i for i in range(len(outputs)) if i != skipped]
        grads = _grad(
            [outputs[i] for i in used],
            point.variables,
            [zeros[i] for i in used],
            retain_graph=True,
            allow_unused=True,
        )
        for g in grads:
            if g is not None and bool(g.ne(0).any()):
                raise GradcheckError(
                    "Expected all undefined or zero output gradients to give undefined or zero input gradients: "
                    f"they don't when output {skipped} is not used"
                )


def _check_zero_numerical(point, eps):
    """No output depends on the inputs for autograd: then the function must not depend on them in fact."""
    import flambeau

    for variable in point.variables:
        for direction in _unit_directions(variable):
            with flambeau.no_grad():
                original = variable.detach().clone()
                results = []
                for sign in (1, -1):
                    variable.data.copy_(original + sign * eps * direction)
                    with flambeau.enable_grad():  # the function may itself take gradients
                        outputs = point.function(*point.inputs)
                    results.append(
                        [_as_real(o).clone() for o in _tensors(outputs) if isinstance(o, _C.Tensor)]
                    )
                variable.data.copy_(original)
            for a, b in zip(*results, strict=True):
                if a.is_floating_point() and bool(a.ne(b).any()):
                    raise GradcheckError("Numerical gradient for function expected to be zero")


def gradcheck(
    func,
    inputs,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_batched_forward_grad=False,
    check_forward_ad=False,
    check_backward_ad=True,
    fast_mode=False,
    masked=None,
):
    """Return True when `func`'s derivatives agree with finite differences at `inputs`; raise or return False otherwise.

    func: takes the inputs and returns a tensor or a tuple of them. inputs: tensors; those with requires_grad (float64 or
        complex128) are checked. eps: the step. atol, rtol: as in `allclose`. nondet_tol: how much two backward passes
        may differ. check_undefined_grad: try with some outputs unused. fast_mode: compare products with random vectors.
    check_forward_ad: compare forward mode too; check_backward_ad=False: only that. check_batched_grad,
        check_batched_forward_grad: compare gradients (tangents) for a batch of vectors, by vmap, with those one by one.

    >>> x = flambeau.ones(3, dtype=flambeau.float64, requires_grad=True)
    >>> flambeau.autograd.gradcheck(lambda x: x * x, x)
    True
    """
    if not (check_backward_ad or check_forward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    inputs = _tensors(inputs)
    try:
        _check_inputs(inputs)
        point = _Point(func, inputs, eps)
        outputs = point.outputs()
        if not outputs:
            _check_zero_numerical(point, eps)
            return True
        if check_forward_ad or check_batched_grad:
            from . import _forward_checks as more
        if check_forward_ad:
            more.check_forward(point, rtol, atol, fast_mode)
        if check_batched_forward_grad:
            more.check_batched_tangents(point)
        if not check_backward_ad:
            return True
        (_check_fast if fast_mode else _check_slow)(point, rtol, atol, nondet_tol)
        if check_batched_grad:
            more.check_batched_gradients(point)
        if check_undefined_grad:
            _check_undefined(point)
        if check_grad_dtypes:
            _check_dtypes(point)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check_dtypes(point):
    import flambeau

    for output in point.outputs():
        grads = _grad(output, point.variables, flambeau.ones_like(output), allow_unused=True)
        for g, x in zip(grads, point.variables, strict=True):
            if g is not None and g.dtype != x.dtype:
                raise GradcheckError(f"grad is a tensor of dtype {g.dtype} for an input of dtype {x.dtype}")


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    gen_non_contig_grad_outputs=False,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_fwd_over_rev=False,
    check_rev_over_rev=True,
    fast_mode=False,
    masked=False,
):
    """Check second derivatives: `gradcheck` of the gradients of `func` with respect to inputs and grad_outputs.

    grad_outputs: default random. Other arguments as in `gradcheck`.
    """
    import flambeau

    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    inputs = _tensors(inputs)
    outputs = _differentiable_outputs(func, inputs)
    if grad_outputs is None:
        generator = flambeau.Generator()
        generator.manual_seed(1)
        made = []
        for o in outputs:
            g = flambeau.randn(
                o.shape,
                dtype=o.dtype if o.is_floating_point() or o.is_complex() else flambeau.float64,
                generator=generator,
            )
            if gen_non_contig_grad_outputs:
                g = flambeau.stack((g, g), -1)[..., 0]
            made.append(g.detach().requires_grad_())
        grad_outputs = tuple(made)
    else:
        grad_outputs = _tensors(grad_outputs)
    count = len(inputs)

    def gradients(*args):
        points, cotangents = args[:count], args[count:]
        results = _differentiable_outputs(func, points)
        variables = tuple(x for x in points if isinstance(x, _C.Tensor) and x.requires_grad)
        grads = _grad(results, variables, cotangents, create_graph=True, allow_unused=True)
        return tuple(g for g in grads if g is not None)

    return gradcheck(
        gradients,
        inputs + grad_outputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
    )
