"""Minimisation of functions of tensors by SciPy's optimizers, with gradients from autograd."""

from __future__ import annotations

import flambeau
from flambeau.utils import _pytree

__all__ = ["scipy_minimize"]

#: Methods that look at values only, and those that want curvature: as a matrix, or times a vector.
_WITHOUT_GRADIENT = frozenset(("nelder-mead", "powell", "cobyla", "cobyqa"))
_WITH_HESSIAN = frozenset(("dogleg", "trust-exact"))
_WITH_HESSIAN_PRODUCT = frozenset(("newton-cg", "trust-ncg", "trust-krylov", "trust-constr"))


class _Variables:
    """A tree of tensors as one vector of float64, and back."""

    def __init__(self, tree):
        self.leaves, self.structure = _pytree.tree_flatten(tree)
        for leaf in self.leaves:
            if not (isinstance(leaf, flambeau.Tensor) and leaf.is_floating_point()):
                what = leaf.dtype if isinstance(leaf, flambeau.Tensor) else type(leaf).__name__
                raise TypeError(f"scipy_minimize: x0 holds floating-point tensors, but got {what}")
        if not self.leaves:
            raise ValueError("scipy_minimize: x0 holds no tensor")

    def vector(self, leaves):
        parts = [leaf.detach().reshape(-1).to(flambeau.float64) for leaf in leaves]
        return flambeau.cat(parts).numpy()

    def tensors(self, x, requires_grad: bool) -> list:
        flat = flambeau.tensor(x, dtype=flambeau.float64)
        found = []
        for leaf, part in zip(self.leaves, flat.split([leaf.numel() for leaf in self.leaves]), strict=True):
            found.append(part.reshape(leaf.shape).to(leaf.dtype, copy=True).requires_grad_(requires_grad))
        return found


class _Function:
    """A scalar function of tensors as functions of a vector: value, gradient, Hessian and its product with a vector.

    SciPy asks for the value and the gradient at a point one after the other: the graph of the value is kept for the
    gradient.
    """

    def __init__(self, function, variables: _Variables, args: tuple, record: bool = True):
        self.function, self.variables, self.args, self.record = function, variables, args, record
        self.point = None

    def _at(self, x):
        if self.point is not None and (self.point == x).all():
            return
        with flambeau.set_grad_enabled(self.record):
            self.inputs = self.variables.tensors(x, self.record)
            self.output = self.function(self.variables.structure.unflatten(self.inputs), *self.args)
        if not isinstance(self.output, flambeau.Tensor) or self.output.numel() != 1:
            shape = list(getattr(self.output, "shape", ())) or type(self.output).__name__
            raise TypeError(
                f"scipy_minimize: the function has to return a tensor of one element, but got {shape}"
            )
        self.point, self.slope = x.copy(), None

    def _gradients(self, output, inputs, keep: bool) -> list:
        found = [None] * len(inputs)
        if output.requires_grad:
            found = flambeau.autograd.grad(
                output.reshape(()), inputs, retain_graph=True, create_graph=keep, allow_unused=True
            )
        return [flambeau.zeros_like(i) if g is None else g for g, i in zip(found, inputs, strict=True)]

    def value(self, x):
        self._at(x)
        return self.output.item()

    def gradient(self, x):
        self._at(x)
        if self.slope is None:
            self.slope = self.variables.vector(self._gradients(self.output, self.inputs, keep=False))
        return self.slope

    def _differentiable_gradient(self, x):
        self._at(x)
        return flambeau.cat([g.reshape(-1) for g in self._gradients(self.output, self.inputs, keep=True)])

    def hessian_product(self, x, p):
        slope = self._differentiable_gradient(x)
        product = (slope * flambeau.tensor(p, dtype=slope.dtype)).sum()
        return self.variables.vector(self._gradients(product, self.inputs, keep=False))

    def hessian(self, x):
        import numpy

        slope = self._differentiable_gradient(x)
        rows = [self.variables.vector(self._gradients(each, self.inputs, keep=False)) for each in slope]
        return numpy.stack(rows)


def _with_gradients(constraint, variables: _Variables):
    """A constraint in SciPy's dictionary form, its function of tensors made one of a vector; others as they are."""
    if not isinstance(constraint, dict) or "jac" in constraint:
        return constraint
    args = tuple(constraint.get("args", ()))
    function = _Function(constraint["fun"], variables, args)
    return {**constraint, "fun": function.value, "jac": function.gradient, "args": ()}


def scipy_minimize(
    fun, x0, args=(), method=None, *, bounds=None, constraints=(), tol=None, callback=None, options=None
):
    """Minimise a scalar function of tensors with ``scipy.optimize.minimize``; autograd gives what derivatives it needs.

    Args:
        fun: takes tensors as `x0` has them, then `args`; returns a tensor of one element.
        x0: the start: a tensor, or a list, tuple or dictionary of tensors. Values and gradients are computed in their
            dtypes; SciPy itself works in double precision, and float64 tensors let it converge furthest.
        args: further arguments of `fun`.
        method: one of SciPy's; None means BFGS, or L-BFGS-B with bounds, or SLSQP with constraints. Methods without
            derivatives get none, those with second derivatives get the Hessian or its products with vectors.
        bounds, tol, options: as SciPy takes them; bounds are of the flattened variables.
        constraints: SciPy's dictionaries ``{"type": "eq" or "ineq", "fun": ...}``, the function taking tensors and
            returning a tensor of one element; or SciPy's own objects, whose functions take vectors.
        callback: called after each step as SciPy does, with the vector.

    Returns:
        SciPy's ``OptimizeResult``: ``x`` (a vector), ``fun``, ``jac``, ``nfev``, ``njev``, ``nit``, ``success``,
        ``message`` ..., and ``tensors``, the minimum in the form of `x0`.

    >>> from flambeau.contrib import scipy_minimize
    >>> def rosenbrock(x):
    ...     return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
    >>> found = scipy_minimize(rosenbrock, flambeau.zeros(3, dtype=flambeau.float64))
    >>> found.success, found.tensors
    (True, tensor([1.0000, 1.0000, 1.0000], dtype=torch.float64))
    """
    from scipy.optimize import minimize

    variables = _Variables(x0)
    name = method.lower() if isinstance(method, str) else ""
    derivatives = {}
    function = _Function(fun, variables, tuple(args), record=name not in _WITHOUT_GRADIENT)
    if function.record:
        derivatives["jac"] = function.gradient
    if name in _WITH_HESSIAN:
        derivatives["hess"] = function.hessian
    elif name in _WITH_HESSIAN_PRODUCT:
        derivatives["hessp"] = function.hessian_product
    if isinstance(constraints, dict):
        constraints = [constraints]
    if isinstance(constraints, (list, tuple)):
        constraints = [_with_gradients(each, variables) for each in constraints]
    result = minimize(
        function.value, variables.vector(variables.leaves), method=method, bounds=bounds, constraints=constraints,
        tol=tol, callback=callback, options=options, **derivatives,
    )  # fmt: skip
    result.tensors = variables.structure.unflatten(variables.tensors(result.x, requires_grad=False))
    return result
