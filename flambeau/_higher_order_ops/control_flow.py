"""Branches and loops given as functions, which programs for compilers write; here they run as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau import _C
from flambeau.utils import _pytree

__all__ = ["cond", "while_loop"]


def _one(pred, what: str) -> bool:
    if isinstance(pred, flambeau.Tensor):
        if pred.numel() != 1:
            raise RuntimeError(f"Expected {what} to be bool or single-element tensor, but got {pred}.")
        return bool(pred.item())
    if isinstance(pred, (bool, int, float)):
        return bool(pred)
    raise RuntimeError(f"Expected {what} to be bool or tensor, but got {pred}.")


def _batched(pred) -> bool:
    """Whether a predicate stands for one of each example of `vmap`."""
    if not (isinstance(pred, flambeau.Tensor) and _C._transforms()):
        return False
    wrapped, kinds = _C._wrapped(pred), {level[0]: level[1] for level in _C._levels()}
    return wrapped is not None and kinds.get(wrapped[0]) == "batch"


def cond(
    pred: bool | int | float | flambeau.Tensor,
    true_fn: Callable,
    false_fn: Callable,
    operands: tuple | list = (),
) -> Any:
    """Call one of two functions with the operands. The other is not called, except inside `vmap` where the examples'
    predicates differ: there each example takes the results of its own.

    Args:
        pred: a number or a tensor of one element.
        true_fn, false_fn: take the operands; what a graph records is the one that ran.
        operands: a tuple or list of tensors, or of trees of them.

    Raises:
        RuntimeError: the predicate has several elements, or is something else.

    >>> x = flambeau.tensor([1., -2.])
    >>> flambeau.cond(x.sum() > 0, lambda x: x.exp(), lambda x: -x, (x,))
    tensor([-1.,  2.])
    """
    if not isinstance(operands, (tuple, list)):
        raise RuntimeError(
            f"Expect operands to be a tuple of possibly nested dict/list/tuple that only consists of tensor leaves, but got "
            f"{operands}."
        )
    for name, function in (("true_fn", true_fn), ("false_fn", false_fn)):
        if not callable(function):
            raise RuntimeError(f"Expect {name} to be callable, but got {function!r}.")
    if _batched(pred):
        if pred.numel() != 1:
            raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}.")
        chosen = pred.bool().reshape(())
        return _pytree.tree_map(
            lambda a, b: flambeau.where(chosen, a, b), true_fn(*operands), false_fn(*operands)
        )
    return (true_fn if _one(pred, "pred") else false_fn)(*operands)


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs):
    """Repeat a function on its own results for as long as a predicate of them holds.

    Args:
        cond_fn: takes the carried values; returns a bool or a tensor of one element.
        body_fn: takes the carried values; returns as many, of the same structure, shapes and dtypes.
        carried_inputs: a tuple or list of tensors and ints, or of trees of them.

    Raises:
        RuntimeError: the functions are none, or the body returns something that it could not have been given.

    >>> flambeau.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (flambeau.tensor(0), flambeau.ones(2)))
    (tensor(3), tensor([8., 8.]))
    """
    if not (callable(cond_fn) and callable(body_fn)):
        raise RuntimeError("Expect cond_fn and body_fn to be callable.")
    if not isinstance(carried_inputs, (tuple, list)):
        raise RuntimeError(f"Expect carried_inputs to be a tuple or a list, but got {type(carried_inputs)}.")
    leaves = _pytree.tree_leaves(carried_inputs)
    for leaf in leaves:
        if not isinstance(leaf, (flambeau.Tensor, int)):
            raise RuntimeError(f"Expect carried_inputs to hold tensors and ints only, but got {leaf!r}.")
    values = carried_inputs
    while _one(cond_fn(*values), "cond_fn's result"):
        values = body_fn(*values)
        if not isinstance(values, (tuple, list)):
            values = (values,)
        _check(leaves, _pytree.tree_leaves(values))
    return values


def _kind(leaf) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}" if isinstance(leaf, flambeau.Tensor) else type(leaf).__name__


def _check(before: list, after: list) -> None:
    before, after = [_kind(leaf) for leaf in before], [_kind(leaf) for leaf in after]
    if before != after:
        raise RuntimeError(
            f"Expected body_fn_output and carried_inputs to have same metadata but found: {', '.join(after)} and "
            f"{', '.join(before)}"
        )
