"""Operators on batches: the rules of `vmap`.

A rule computes an operator for all examples at once. It gets the operator, its arguments (one per parameter), for each the
dimension that runs over examples (None: the same for all; lists have one each) and the number of examples; it returns
the results and where the examples are in them (None: nowhere). Rules are shared by families; an operator without one
runs example by example.
"""

import warnings

import flambeau

from .. import _C
from .._ops.registry import inplace_records, records

Tensor = _C.Tensor
_call = _C._call

#: operator -> rule
rules = {}
#: operator -> whether it writes its first argument
_writes = {}


def names_of(text):
    """Operators by name; of a name in a list, every overload and the in-place form."""
    return [n for n in text.split()]


def rule(text):
    """Decorator: the rule of the operators named in `text`."""

    def register(function):
        for name in text.split():
            register_rule(name, function)
        return function

    return register


def register_rule(name, function):
    """`function` becomes the rule of the operator `name`, in place or not."""
    made = records[name].op if name in records else inplace_records[name]
    rules[made] = function


def writes(op):
    """Whether an operator writes its first argument."""
    if op not in _writes:
        base = op.__name__.partition(".")[0]
        _writes[op] = base.endswith("_") and not base.endswith("__")
    return _writes[op]


def batch(op, values, dims, size, randomness):
    """Run one operator on batches: called by the native half."""
    found = rules.get(op)
    if found is None:
        found = _rule_for(op)
    if getattr(found, "random", False):
        return found(op, values, dims, size, randomness)
    return found(op, values, dims, size)


def _rule_for(op):
    _load()
    if op not in rules:
        rules[op] = one_by_one
    return rules[op]


def _load():
    from . import batch_index, batch_matrix, batch_nn, batch_pointwise, batch_random, batch_shape  # noqa: F401


# ---- what rules are made of ----------------------------------------------------------------------------------------


def front(value, dim):
    """`value` with the examples along dimension 0."""
    return value if dim == 0 else value.movedim(dim, 0)


def batched_front(value, dim, size):
    """As `front`; a value that is the same for all examples is repeated (without memory)."""
    if dim is None:
        return value.expand(size, *value.shape)
    return value if dim == 0 else value.movedim(dim, 0)


def rank(value, dim):
    """Dimensions of one example."""
    return value.ndim - (dim is not None)


def padded(value, dim, ndim):
    """Examples in front, and one example brought to `ndim` dimensions by leading ones, as broadcasting does it."""
    if dim is None:
        return value
    value = front(value, dim)
    missing = ndim + 1 - value.ndim
    return value.reshape(value.shape[0], *(1,) * missing, *value.shape[1:]) if missing > 0 else value


def wrapped_dim(dim, ndim):
    """A dimension of one example, counted from the front; IndexError as PyTorch's."""
    low = -max(ndim, 1)
    if not low <= dim < -low:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{low}, {-low - 1}], but got {dim})"
        )
    return dim + max(ndim, 1) if dim < 0 else dim


def replaced(values, **changes):
    """The tuple with some entries replaced, by position: `_0=...`."""
    out = list(values)
    for key, value in changes.items():
        out[int(key[1:])] = value
    return tuple(out)


# ---- example by example --------------------------------------------------------------------------------------------


def _example(value, dim, i):
    if isinstance(dim, tuple):
        return tuple(_example(v, d, i) for v, d in zip(value, dim, strict=True))
    return value if dim is None else value.select(dim, i)


def one_by_one(op, values, dims, size):
    """The rule of operators that have none: each example by itself, and the results stacked."""
    _warn(op)
    return by_example(op, values, dims, size)


def by_example(op, values, dims, size):
    """Run each example by itself, and stack the results."""
    if size == 0:
        raise RuntimeError(
            f"vmap: {op.__name__} has no rule for batches, and runs example by example: there are none here (the batch "
            "dimension has size 0)"
        )
    if writes(op):
        for i in range(size):
            _call(op, _example(values, dims, i))
        return values[0], dims[0]
    results = [_call(op, _example(values, dims, i)) for i in range(size)]
    first = results[0]
    if isinstance(first, Tensor):
        return _stack(op, results), 0
    if isinstance(first, (tuple, list)):
        columns = [
            _stack(op, column) if isinstance(column[0], Tensor) else column[0]
            for column in zip(*results, strict=True)
        ]
        return tuple(columns), tuple(0 if isinstance(c, Tensor) else None for c in columns)
    if any(r != first for r in results):
        raise RuntimeError(
            f"vmap: {op.__name__} returns something else than tensors, which differs between examples"
        )
    return first, None


def _stack(op, results):
    if any(r.shape != results[0].shape for r in results):
        raise RuntimeError(
            f"vmap: It looks like you're attempting to use an operator ({op.__name__}) whose result has a shape that "
            "depends on the data. We don't support vmap over those: the examples' results cannot be stacked"
        )
    return flambeau.stack(results)


_warned = set()


def _warn(op):
    if op.__name__ not in _warned:
        _warned.add(op.__name__)
        warnings.warn(
            f"There is a performance drop because we have not yet implemented the batching rule for {op.__name__}: "
            "it runs once per example.",
            stacklevel=3,
        )
