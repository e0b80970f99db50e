"""`grad`, `grad_and_value`, `vjp`: reverse mode as a transform of functions.

The engine and its graph are those of `backward`. What a transform adds is that only its own inputs count: they are other
tensors than the caller's, no `.grad` is written, and the caller's grad mode decides whether results have a history.
"""

import functools

import flambeau

from .. import _C
from .._transforms.forward import has_history
from ..utils._pytree import tree_flatten, tree_map_only, tree_unflatten

__all__ = ["grad", "grad_and_value", "vjp"]

Tensor = _C.Tensor


class Differentiation:
    """While functions run: own inputs, and afterwards whose history the results have."""

    def __init__(self):
        self.outer_grad = _C.is_grad_enabled()
        levels = _C._levels()
        self.level = levels[-1][0] if levels else None

    def __enter__(self):
        _C._in_function(1)
        _C._set_grad_enabled(True)
        self.recorded = None if self.level is None else _C._record_level(self.level, True)
        return self

    def __exit__(self, *exc):
        _C._in_function(-1)
        _C._set_grad_enabled(self.outer_grad)
        if self.level is not None:
            _C._record_level(self.level, self.recorded)

    def own(self, tensor):
        """Another tensor with the same elements, to differentiate with respect to."""
        if not (tensor.dtype.is_floating_point or tensor.dtype.is_complex):
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if self.level is not None and _C._unwrap(tensor, self.level) is None:
            tensor = _C._lift(tensor, self.level)
        if tensor.requires_grad and self.outer_grad and self.recorded is not False:
            return tensor.view_as(tensor)
        return _C._leaf(tensor)

    def gradients(self, outputs, inputs, vectors, retain_graph=False):
        """The gradients of sum(vector * output), zeros where there are none; with a history if there is one to have."""
        used = [
            (o, v) for o, v in zip(outputs, vectors, strict=True) if isinstance(o, Tensor) and o.requires_grad
        ]
        found = [None] * len(inputs)
        if used and inputs:
            outs, vecs = (tuple(part) for part in zip(*used, strict=True))
            again = self.outer_grad and (
                any(has_history(v) for v in vecs) or _C._leads_elsewhere(outs, tuple(inputs))
            )
            found = self._backward(outs, tuple(inputs), vecs, again, retain_graph or again)
        return [flambeau.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]

    def _backward(self, outputs, inputs, vectors, again, retain_graph):
        if self.level is None:
            return _C._run_backward(outputs, vectors, retain_graph, again, inputs, True, False)
        # Below this level, the pass is recorded where the forward pass was; at this level only if there is a use for it.
        before = _C._record_level(self.level, again)
        quiet = _C._quiet(0 if again else self.level)
        try:
            return _C._run_backward(outputs, vectors, retain_graph, True, inputs, True, False)
        finally:
            _C._quiet(quiet)
            _C._record_level(self.level, before)

    def result(self, tensor, inputs):
        """An output as the caller sees it: without the history that leads to own inputs only."""
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            return tensor
        if self.outer_grad and _C._leads_elsewhere((tensor,), tuple(inputs)):
            return tensor
        return _C._without_history(tensor)

    def results(self, tree, inputs):
        """`result` for every tensor of a tree."""
        return tree_map_only(Tensor, lambda t: self.result(t, inputs), tree)


def check_argnums(argnums, count):
    """The positions meant, counted from the front."""
    if isinstance(argnums, bool) or not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    positions = (argnums,) if isinstance(argnums, int) else argnums
    if not positions:
        raise RuntimeError("argnums must be non-empty")
    for position in positions:
        if not isinstance(position, int):
            raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(position)}")
        if not -count <= position < count:
            raise RuntimeError(f"Got argnum={position}, but only {count} positional inputs")
    positions = tuple(p % count for p in positions)
    if len(set(positions)) != len(positions):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return positions


def with_arguments(func, argnums, args):
    """(a function of the chosen arguments alone, these)."""
    positions = check_argnums(argnums, len(args))

    def chosen(*some):
        everything = list(args)
        for position, value in zip(positions, some, strict=True):
            everything[position] = value
        return func(*everything)

    return chosen, tuple(args[p] for p in positions)


def check_tensors(leaves):
    """RuntimeError unless all are tensors."""
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(f"Expected tensors, got unsupported type {type(leaf)}")


def split_aux(output, has_aux, name):
    """(output, aux or None)."""
    if not has_aux:
        return output, None
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return output


def grad_and_value(func, argnums=0, has_aux=False):
    """Return a function that gives ``(gradient, value)`` of `func`: see :func:`grad`.

    With has_aux it gives ``(gradient, (value, aux))``.

    >>> flambeau.func.grad_and_value(lambda x: x**3)(flambeau.tensor(2.0))
    (tensor(12.), tensor(8.))
    """

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        positions = check_argnums(argnums, len(args))
        with Differentiation() as level:
            everything = list(args)
            flat, spec = tree_flatten(tuple(args[p] for p in positions))
            check_tensors(flat)
            inputs = [level.own(t) for t in flat]
            for position, value in zip(positions, tree_unflatten(inputs, spec), strict=True):
                everything[position] = value
            output, aux = split_aux(func(*everything, **kwargs), has_aux, "grad_and_value(f)(*args)")
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}"
                )
            if output.dim() != 0:
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with {output.dim()} "
                    "dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            found = level.gradients((output,), inputs, (flambeau.ones_like(output),))
            found = [level.result(g, inputs) for g in found]
            output, aux = level.results(output, inputs), level.results(aux, inputs)
        gradients = tree_unflatten(found, spec)
        if isinstance(argnums, int):
            gradients = gradients[0]
        return gradients, ((output, aux) if has_aux else output)

    return wrapper


def grad(func, argnums=0, has_aux=False):
    """Return a function that gives the gradient of `func`, which must return one element.

    Transforms nest: ``grad(grad(f))`` is the second derivative, ``vmap(grad(f), (None, 0))`` gives a gradient per example.

    Args:
        argnums: with respect to which arguments, an int or a tuple of ints; arguments may be trees of tensors. Default: 0.
        has_aux: `func` returns ``(output, aux)``, and the result is ``(gradient, aux)``.

    Raises:
        RuntimeError: the output is not a tensor without dimensions, or `argnums` does not fit the arguments.

    >>> flambeau.func.grad(flambeau.sin)(flambeau.tensor(0.0))
    tensor(1.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        gradients, rest = both(*args, **kwargs)
        return (gradients, rest[1]) if has_aux else gradients

    return wrapper


def vjp(func, *primals, has_aux=False):
    """Return ``(func(*primals), f)``, where ``f(*cotangents)`` is the vector-Jacobian product: one gradient per primal.

    With has_aux, `func` returns ``(output, aux)`` and the result is ``(output, f, aux)``. The function may be called many
    times, also under :func:`vmap`.

    >>> output, f = flambeau.func.vjp(lambda x: x * x, flambeau.tensor([1.0, 2.0]))
    >>> f(flambeau.ones(2))
    (tensor([2., 4.]),)
    """
    flat, spec = tree_flatten(primals)
    check_tensors(flat)
    with Differentiation() as level:
        inputs = [level.own(t) for t in flat]
        output, aux = split_aux(func(*tree_unflatten(inputs, spec)), has_aux, "vjp(f, *primals)")
        outputs, out_spec = tree_flatten(output)
        if not outputs:
            raise RuntimeError(
                "vjp(f, *primals): Expected f to be a function that has non-empty output (got output = ())"
            )
        for one in outputs:
            if not isinstance(one, Tensor):
                raise RuntimeError(
                    "vjp(f, *primals): expected f(*primals) to return only tensors, got unsupported type "
                    f"{type(one)}"
                )
        if has_aux:
            check_tensors(tree_flatten(aux)[0])
        shown = [level.result(o, inputs) for o in outputs]
        aux = level.results(aux, inputs)

    def pull_back(*cotangents, retain_graph=True, create_graph=None):
        if len(cotangents) == 1:
            cotangents = cotangents[0]
        vectors, given_spec = tree_flatten(cotangents)
        if given_spec != out_spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. "
                f"cotangents: {given_spec}, primal output: {out_spec}"
            )
        again = _C.is_grad_enabled() if create_graph is None else create_graph
        with _Resumed(level, again):
            found = level.gradients(outputs, inputs, vectors, retain_graph)
            found = [level.result(g, inputs) for g in found]
        result = tree_unflatten(found, spec)
        return result

    done = tree_unflatten(shown, out_spec)
    return (done, pull_back, aux) if has_aux else (done, pull_back)


class _Resumed:
    """A differentiation taken up again, later and perhaps inside other transforms."""

    def __init__(self, level, grad_mode):
        self.level, self.grad_mode = level, grad_mode

    def __enter__(self):
        self.before = self.level.outer_grad
        self.level.outer_grad = self.grad_mode

    def __exit__(self, *exc):
        self.level.outer_grad = self.before
