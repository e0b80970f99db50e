"""`jvp`, `linearize` and whole Jacobians."""

import functools

import flambeau

from .. import _C
from .._transforms import ForwardLevel, InFunction
from .._transforms.forward import has_history
from ..utils._pytree import tree_flatten, tree_map, tree_unflatten
from .reverse import check_tensors, split_aux, vjp, with_arguments
from .vmap import vmap

__all__ = ["hessian", "jacfwd", "jacrev", "jvp", "linearize"]

Tensor = _C.Tensor


def check_tangent(primal, tangent):
    """The conditions on a dual tensor's parts."""
    if not (primal.dtype.is_floating_point or primal.dtype.is_complex):
        raise ValueError(f"Expected primal to be floating point or complex, but got: {primal.dtype}")
    if not (tangent.dtype.is_floating_point or tangent.dtype.is_complex):
        raise ValueError(f"Expected tangent to be floating point or complex, but got: {tangent.dtype}")
    if primal.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(primal.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}."
        )


def _check_pairs(primals, tangents):
    if not isinstance(primals, tuple):
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
    flat, spec = tree_flatten(primals)
    vectors, vector_spec = tree_flatten(tangents)
    if spec != vector_spec:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure. For example, if "
            "primals is a tuple of 3 tensors, tangents also must be. Got primals with structure "
            f"{spec} and tangents with structure {vector_spec}"
        )
    for name, leaves in (("primals", flat), ("tangents", vectors)):
        if not leaves:
            raise RuntimeError(f"jvp(f, primals, tangents): Expected {name} to contain at least one Tensor.")
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise RuntimeError(
                    f"jvp(f, primals, tangents): Expected {name} to contain only Tensors, got a value of type {type(leaf)}"
                )
    return flat, vectors, spec


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """Return ``(func(*primals), J t)``: the derivative in the direction of `tangents`, in forward mode.

    Args:
        primals, tangents: tuples of the same structure; each tangent has its primal's shape.
        strict: raise where an output does not depend on the inputs, rather than give zeros. Default: False.
        has_aux: `func` returns ``(output, aux)``, and the result is ``(output, J t, aux)``.

    >>> flambeau.func.jvp(lambda x: x**3, (flambeau.tensor(2.0),), (flambeau.tensor(1.0),))
    (tensor(8.), tensor(12.))
    """
    flat, vectors, spec = _check_pairs(primals, tangents)
    for primal, tangent in zip(flat, vectors, strict=True):
        check_tangent(primal, tangent)
    with ForwardLevel() as level, InFunction():
        duals = [level.wrap(p, t) for p, t in zip(flat, vectors, strict=True)]
        output, aux = split_aux(func(*tree_unflatten(duals, spec)), has_aux, "jvp(f, primals, tangents)")
        outputs, out_spec = tree_flatten(output)
        for one in outputs:
            if not isinstance(one, Tensor):
                raise RuntimeError(
                    "jvp(f, primals, tangents): Expected f(*primals) to return only tensors, got unsupported type "
                    f"{type(one)}"
                )
        pairs = [level.unwrap(o) for o in outputs]
        if strict and any(t is None for _, t in pairs):
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not allowed "
                "with strict=True."
            )
        values = [v for v, _ in pairs]
        derivatives = [flambeau.zeros_like(v) if t is None else t for v, t in pairs]
        aux = tree_map(lambda a: level.unwrap(a)[0] if isinstance(a, Tensor) else a, aux)
    result = tree_unflatten(values, out_spec), tree_unflatten(derivatives, out_spec)
    return (*result, aux) if has_aux else result


def linearize(func, *primals):
    """Return ``(func(*primals), f)``, where ``f(*tangents)`` is the Jacobian-vector product, without computing `func` anew.

    >>> output, f = flambeau.func.linearize(lambda x: x**3, flambeau.tensor(2.0))
    >>> f(flambeau.tensor(1.0))
    tensor(12.)
    """
    output, pull_back = vjp(func, *primals)
    outputs, out_spec = tree_flatten(output)
    flat, spec = tree_flatten(primals)
    # u -> u^T J is linear; its own pull-back is t -> J t.
    directions = tree_unflatten([flambeau.zeros_like(o) for o in outputs], out_spec)
    _, push = vjp(lambda u: pull_back(u, create_graph=True), directions)

    def push_forward(*tangents):
        vectors, given = tree_flatten(tangents)
        if given != spec:
            raise RuntimeError(
                "Expected the tangents to have the structure of the primals: "
                f"tangents: {given}, primals: {spec}"
            )
        for primal, tangent in zip(flat, vectors, strict=True):
            if primal.shape != tangent.shape:
                raise RuntimeError(
                    f"Expected tangents of the primals' shapes, got {list(tangent.shape)} for {list(primal.shape)}"
                )
            if primal.dtype != tangent.dtype:
                raise RuntimeError(
                    f"Expected tangents of the primals' dtypes, got {tangent.dtype} for {primal.dtype}"
                )
        result = push(tangents)[0]
        if any(has_history(t) for t in (*flat, *vectors)):
            return result
        return tree_map(_C._without_history, result)

    return output, push_forward


# ---- Jacobians -----------------------------------------------------------------------------------------------------


def _basis(tensors):
    """Of all elements together, the unit vectors: for each tensor a block (elements of all, *its shape)."""
    counts = [t.numel() for t in tensors]
    total = sum(counts)
    blocks, start = [], 0
    for tensor, count in zip(tensors, counts, strict=True):
        block = flambeau.zeros(total, count, dtype=tensor.dtype, device=tensor.device)
        block[start : start + count].fill_diagonal_(1)
        blocks.append(block.view(total, *tensor.shape))
        start += count
    return blocks, counts


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    """Return a function that gives the Jacobian of `func`, row by row in reverse mode: good where outputs are few.

    For an output of shape (O...) and an argument of shape (I...) it has the shape (O..., I...); trees of outputs and
    arguments give trees of trees.

    Args:
        argnums: with respect to which arguments. Default: 0.
        has_aux: `func` returns ``(output, aux)``, and the result is ``(Jacobian, aux)``.
        chunk_size: so many rows at a time; None for all at once.

    >>> flambeau.func.jacrev(lambda x: x * x)(flambeau.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        chosen, some = with_arguments(lambda *a: func(*a, **kwargs), argnums, args)
        found = vjp(chosen, *some, has_aux=has_aux)
        output, pull_back = found[:2]
        outputs, out_spec = tree_flatten(output)
        blocks, counts = _basis(outputs)
        inputs, in_spec = tree_flatten(some)
        if sum(counts):
            rows = vmap(lambda u: pull_back(tree_unflatten(u, out_spec)), chunk_size=chunk_size)(blocks)
            flat = tree_flatten(rows)[0]
        else:
            flat = [x.new_zeros(0, *x.shape) for x in inputs]
        parts = [r.split(counts) for r in flat]
        jacobians = []
        for k, o in enumerate(outputs):
            row = [p[k].view(o.shape + x.shape) for p, x in zip(parts, inputs, strict=True)]
            row = tree_unflatten(row, in_spec)
            jacobians.append(row[0] if isinstance(argnums, int) else row)
        result = tree_unflatten(jacobians, out_spec)
        return (result, found[2]) if has_aux else result

    return wrapper


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """Return a function that gives the Jacobian of `func`, column by column in forward mode: good where inputs are few.

    Shapes and arguments are as in :func:`jacrev`; randomness as in :func:`vmap`.

    >>> flambeau.func.jacfwd(lambda x: x * x)(flambeau.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        chosen, some = with_arguments(lambda *a: func(*a, **kwargs), argnums, args)
        inputs, in_spec = tree_flatten(some)
        check_tensors(inputs)
        blocks, counts = _basis(inputs)

        def push(vectors):
            found = jvp(chosen, some, tree_unflatten(vectors, in_spec), has_aux=has_aux)
            return found[1:] if has_aux else found[1]

        columns = vmap(push, randomness=randomness)(blocks)
        aux = None
        if has_aux:
            columns, aux = columns
            aux = tree_map(lambda a: a[0], aux)
        flat, out_spec = tree_flatten(columns)
        jacobians = []
        for column in flat:
            row = [
                part.movedim(0, -1).reshape(column.shape[1:] + x.shape)
                for part, x in zip(column.split(counts), inputs, strict=True)
            ]
            row = tree_unflatten(row, in_spec)
            jacobians.append(row[0] if isinstance(argnums, int) else row)
        result = tree_unflatten(jacobians, out_spec)
        return (result, aux) if has_aux else result

    return wrapper


def hessian(func, argnums=0):
    """Return a function that gives the matrix of second derivatives of `func`: forward mode over reverse mode.

    >>> flambeau.func.hessian(lambda x: (x**3).sum())(flambeau.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
