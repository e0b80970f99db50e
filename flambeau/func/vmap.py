"""`vmap`: a function of one example made a function of a batch."""

import functools

import flambeau

from .. import _C
from .._transforms import BatchLevel, InFunction
from ..utils._pytree import SUPPORTED_NODES, tree_flatten, tree_unflatten

__all__ = ["vmap"]

Tensor = _C.Tensor


def _name(func):
    if isinstance(func, functools.partial):
        return f"functools.partial({_name(func.func)}, ...)"
    return getattr(func, "__name__", None) or repr(func)


def _broadcast(prefix, tree):
    """A value per leaf of `tree` from a tree that may end earlier, or None where the structures differ."""
    if prefix is None or isinstance(prefix, int) or not _is_node(tree):
        if _is_node(prefix) or (_is_node(tree) and not (prefix is None or isinstance(prefix, int))):
            return None
        count = len(tree_flatten(tree)[0]) if _is_node(tree) else 1
        return [prefix] * count
    if type(prefix) is not type(tree) and not (isinstance(prefix, tuple) and isinstance(tree, tuple)):
        return None
    parts, _ = (
        SUPPORTED_NODES[type(tree)].flatten_fn(tree) if type(tree) in SUPPORTED_NODES else (list(tree), None)
    )
    if isinstance(tree, dict):
        if set(prefix) != set(tree):
            return None
        given = [prefix[k] for k in tree]
    else:
        given = list(prefix)
    parts = list(parts)
    if len(given) != len(parts):
        return None
    out = []
    for one, part in zip(given, parts, strict=True):
        found = _broadcast(one, part)
        if found is None:
            return None
        out += found
    return out


def _is_node(tree):
    return type(tree) in SUPPORTED_NODES or (isinstance(tree, tuple) and hasattr(tree, "_fields"))


def _structure(tree):
    return tree_flatten(tree)[1]


def _check_randomness(randomness):
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )


def _flat_inputs(in_dims, args, func):
    """(leaves, the dimension of each or None, how to put them together, how many examples)."""
    if not isinstance(in_dims, (int, tuple, list)):
        raise ValueError(
            f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a (potentially nested) "
            f"tuple matching the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({_name(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over "
            "a function with no inputs. The latter is unsupported."
        )
    leaves, spec = tree_flatten(args)
    dims = _broadcast(tuple(in_dims) if isinstance(in_dims, list) else in_dims, args)
    if dims is None:
        raise ValueError(
            f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): in_dims is not compatible with the structure of "
            f"`inputs`. in_dims has structure {_structure(in_dims)} but inputs has structure {spec}."
        )
    checked = [_checked_dim(leaf, dim, in_dims, func) for leaf, dim in zip(leaves, dims, strict=True)]
    return leaves, checked, spec


def _checked_dim(leaf, dim, in_dims, func):
    where = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={dim} for "
    if dim is None:
        return None
    if not isinstance(dim, int):
        raise ValueError(where + "an input but in_dim must be either an integer dimension or None.")
    if not isinstance(leaf, Tensor):
        raise ValueError(
            where
            + f"an input but the input is of type {type(leaf)}. We cannot vmap over non-Tensor arguments, please use "
            "None as the respective in_dim"
        )
    if not -leaf.dim() <= dim < leaf.dim():
        raise ValueError(
            where
            + f"some input, but that input is a Tensor of dimensionality {leaf.dim()} so expected in_dim to satisfy "
            f"-{leaf.dim()} <= in_dim < {leaf.dim()}."
        )
    return dim % leaf.dim()


def _batch_size(leaves, dims):
    sizes = [leaf.size(dim) for leaf, dim in zip(leaves, dims, strict=True) if dim is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if len(set(sizes)) > 1:
        raise ValueError(
            "vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sizes} for the mapped dimension"
        )
    return sizes[0]


def _flat_out_dims(out_dims, outputs, func):
    dims = out_dims
    if isinstance(dims, int) or dims is None:
        return [dims] * len(tree_flatten(outputs)[0])
    if isinstance(dims, list):
        dims = tuple(dims)
    if isinstance(outputs, Tensor) and isinstance(dims, tuple) and len(dims) == 1 and not _is_node(dims[0]):
        return list(dims)
    found = _broadcast(
        dims, outputs if not isinstance(outputs, list) or isinstance(dims, list) else tuple(outputs)
    )
    if found is None:
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of "
            f"`outputs`. out_dims has structure {_structure(out_dims)} but outputs has structure {_structure(outputs)}."
        )
    return found


def _take_out(level, value, dim, func):
    """One output: the examples along `dim`."""
    if dim is None:
        if isinstance(value, Tensor) and level.unwrap(value)[1] is not None:
            raise ValueError(
                f"vmap({_name(func)}, ...): `{_name(func)}` can not return a BatchedTensor when out_dim is None"
            )
        return level.unwrap(value)[0] if isinstance(value, Tensor) else value
    if not isinstance(value, Tensor):
        raise ValueError(
            f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type {type(value)}. Did you mean to "
            "set out_dims= to None for output?"
        )
    below, at = level.unwrap(value)
    if at is None:
        n = below.dim() + 1
        if not -n <= dim < n:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
            )
        dim %= n
        shape = list(below.shape)
        return below.unsqueeze(dim).expand(*shape[:dim], level.size, *shape[dim:])
    return below if at == dim else below.movedim(at, dim)


def _run(func, leaves, dims, spec, kwargs, out_dims, randomness):
    """Call `func` on one batch; the flat outputs with their dimensions applied, and their structure."""
    with BatchLevel(_batch_size(leaves, dims), randomness) as level, InFunction():
        inputs = [
            leaf if dim is None else level.wrap(leaf, dim) for leaf, dim in zip(leaves, dims, strict=True)
        ]
        outputs = func(*tree_unflatten(inputs, spec), **kwargs)
        wanted = _flat_out_dims(out_dims, outputs, func)
        flat, out_spec = tree_flatten(outputs)
        taken = [_take_out(level, value, dim, func) for value, dim in zip(flat, wanted, strict=True)]
    return taken, wanted, out_spec


def _chunks(leaves, dims, chunk_size):
    size = _batch_size(leaves, dims)
    for start in range(0, size, chunk_size):
        length = min(chunk_size, size - start)
        yield [
            leaf if dim is None else leaf.narrow(dim, start, length)
            for leaf, dim in zip(leaves, dims, strict=True)
        ]


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """Return a function that applies `func` to every example of a batch, by batched operators rather than a loop.

    Inside, tensors have the shape of one example. The result has the examples along a dimension of its outputs.

    Args:
        in_dims: which dimension of each input runs over examples, None where it is the same for all: an int for all inputs,
            or a tuple with the structure of the inputs. Default: 0. Keyword arguments are the same for all.
        out_dims: where the examples go in each output, an int or the structure of the outputs. Default: 0.
        randomness: what random operators do: "error", "same" (draws shared by all examples) or "different".
        chunk_size: at most so many examples at a time, to save memory; None for all at once.

    Raises:
        ValueError: `in_dims` does not fit the inputs, or sizes differ, or an output is not a tensor.
        RuntimeError: the function needs an element's value (`item`, `if`), or draws with randomness="error".

    >>> dot = flambeau.vmap(flambeau.dot)
    >>> dot(flambeau.tensor([[1.0, 2.0], [3.0, 4.0]]), flambeau.ones(2, 2))
    tensor([3., 7.])
    """
    _check_randomness(randomness)
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapped(*args, **kwargs):
        leaves, dims, spec = _flat_inputs(in_dims, args, func)
        if chunk_size is None:
            taken, _, out_spec = _run(func, leaves, dims, spec, kwargs, out_dims, randomness)
            return tree_unflatten(taken, out_spec)
        parts = [
            _run(func, chunk, dims, spec, kwargs, out_dims, randomness)
            for chunk in _chunks(leaves, dims, chunk_size)
        ]
        _, wanted, out_spec = parts[0]
        joined = [
            column[0] if dim is None else flambeau.cat(column, dim)
            for column, dim in zip(zip(*(p[0] for p in parts), strict=True), wanted, strict=True)
        ]
        return tree_unflatten(joined, out_spec)

    return wrapped
