"""Running results of an associative function, in a logarithmic number of steps."""

from __future__ import annotations

from collections.abc import Callable

import flambeau
from flambeau.utils import _pytree

__all__ = ["associative_scan"]


def associative_scan(
    combine_fn: Callable, xs, dim: int, reverse: bool = False, combine_mode: str = "pointwise"
):
    """Running results of `combine_fn` along a dimension: of addition, that is a cumulative sum.

    Args:
        combine_fn: takes two trees of tensors and returns one of the same structure; associative, and applied to many
            pairs at once, element by element.
        xs: a tensor or a tree of tensors, of one size along `dim`.
        dim: the dimension.
        reverse: run from the end.
        combine_mode: ``"pointwise"`` or ``"generic"``, which are the same here.

    >>> from flambeau._higher_order_ops import associative_scan
    >>> associative_scan(lambda a, b: a * b, flambeau.arange(1, 6), dim=0)
    tensor([  1,   2,   6,  24, 120])
    """
    if not callable(combine_fn):
        raise ValueError(f"Combine_fn must be a callable, but got {combine_fn}")
    if combine_mode not in ("pointwise", "generic"):
        raise ValueError(f"Combine_mode must either 'pointwise' or 'generic', but got {combine_mode}")
    leaves, structure = _pytree.tree_flatten(xs)
    if not leaves:
        raise ValueError("Expected at least one xs leaf")
    if not all(isinstance(leaf, flambeau.Tensor) for leaf in leaves):
        raise ValueError("All xs leaves must be a Tensor")
    if len({leaf.shape[dim] for leaf in leaves}) != 1:
        raise ValueError("All xs leaves must have the same size along the dimension of the scan")

    def combine(first: list, second: list) -> list:
        result = combine_fn(structure.unflatten(first), structure.unflatten(second))
        return _pytree.tree_leaves(result)

    moved = [leaf.movedim(dim, 0) for leaf in leaves]
    if reverse:
        moved = [leaf.flip(0) for leaf in moved]
    if moved[0].shape[0]:
        moved = _scan(combine, moved)
    if reverse:
        moved = [leaf.flip(0) for leaf in moved]
    return structure.unflatten([leaf.movedim(0, dim) for leaf in moved])


def _scan(combine, leaves: list) -> list:
    """Pairs of neighbours are combined, the half as long sequence is scanned, and gives every second result."""
    size = leaves[0].shape[0]
    if size == 1:
        return leaves
    odd = _scan(combine, combine([x[0 : size - 1 : 2] for x in leaves], [x[1::2] for x in leaves]))
    first = [x[:1] for x in leaves]
    if size == 2:
        return [flambeau.cat(pair) for pair in zip(first, odd, strict=True)]
    even = combine([x[: (size - 1) // 2] for x in odd], [x[2::2] for x in leaves])
    even = [flambeau.cat(pair) for pair in zip(first, even, strict=True)]
    return [_interleave(e, o) for e, o in zip(even, odd, strict=True)]


def _interleave(even, odd):
    pairs = flambeau.stack((even[: odd.shape[0]], odd), 1).flatten(0, 1)
    return pairs if even.shape[0] == odd.shape[0] else flambeau.cat((pairs, even[-1:]))
