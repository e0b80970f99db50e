"""Attention over long sequences, of which each process holds a part.

Within ``with context_parallel(mesh, buffers=[...], buffer_seq_dims=[...])``, the buffers are this process's parts of the
whole ones, and ``scaled_dot_product_attention`` looks at the keys of all processes (see _ring.py). Everything else in a
transformer works on positions one by one, and needs to know nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import flambeau
import flambeau.distributed as dist
from flambeau.nn import _functional_attention as attention

from ._load_balancer import _HeadTailLoadBalancer, part_of, restore
from ._ring import _cp_options, _RotateMethod, ring_attention

__all__ = ["context_parallel", "context_parallel_unshard", "set_rotate_method"]


def set_rotate_method(rotate_method: str) -> None:
    """How keys and values come to a process.

    Args:
        rotate_method: ``"alltoall"``, from neighbour to neighbour, each while the one before is in use (the default here,
            for it keeps two parts in memory at a time); or ``"allgather"``, all at once.
    """
    methods = {"alltoall": _RotateMethod.ALL_TO_ALL, "allgather": _RotateMethod.ALL_GATHER}
    if rotate_method not in methods:
        raise NotImplementedError(
            f"Context Parallel does not support using {rotate_method} for kv shards rotation: "
            f"use one of {sorted(methods)}"
        )
    _cp_options.rotate_method = methods[rotate_method]


@contextlib.contextmanager
def context_parallel(mesh, *, buffers=None, buffer_seq_dims=None, no_restore_buffers=None):
    """Within this context, sequences are split over the processes of a mesh, and attention goes over all of them.

    Args:
        mesh: a `DeviceMesh` of one dimension.
        buffers: tensors with a sequence dimension, the same in all processes: inputs, labels, tables of positions. They
            become this process's parts, in place, and are whole again after the context.
        buffer_seq_dims: the sequence dimension of each. Sizes are multiples of ``2 * mesh.size()``.
        no_restore_buffers: those that may stay as they are.

    >>> with context_parallel(mesh, buffers=[x, y], buffer_seq_dims=[1, 1]):  # doctest: +SKIP
    ...     loss = criterion(model(x), y)
    ...     loss.backward()
    """
    buffers = [] if buffers is None else list(buffers)
    seq_dims = [] if buffer_seq_dims is None else list(buffer_seq_dims)
    kept = set() if no_restore_buffers is None else no_restore_buffers
    if len(buffers) != len(seq_dims):
        raise ValueError("`seq_dims` must have the same number of elements as `buffers`.")
    if any(not any(tensor is buffer for buffer in buffers) for tensor in kept):
        raise ValueError("`no_restore_buffers` must be a subset of `buffers`.")
    group = mesh.get_group()
    parts = _context_parallel_shard(mesh, buffers, seq_dims)
    whole = [
        None if any(buffer is tensor for tensor in kept) else buffer.detach().clone() for buffer in buffers
    ]
    _replace(buffers, parts)
    before = attention.replacement
    attention.replacement = _attention_over(group)
    try:
        yield
    finally:
        attention.replacement = before
        restored = [
            (buffer, saved) for buffer, saved in zip(buffers, whole, strict=True) if saved is not None
        ]
        _replace([buffer for buffer, _ in restored], [saved for _, saved in restored])


def _replace(buffers: list, values: list) -> None:
    with flambeau.no_grad():
        for buffer, value in zip(buffers, values, strict=True):
            buffer.resize_(value.shape)
            buffer.copy_(value)


def _attention_over(group):
    def attend(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa):
        if attn_mask is not None:
            raise NotImplementedError(
                "context parallelism: attention with attn_mask is not written; is_causal is"
            )
        if dropout_p:
            raise NotImplementedError(
                "context parallelism: attention with dropout is not written: use dropout_p=0.0"
            )
        if enable_gqa:
            key, value = attention._shared_heads(query, key, value)
        return ring_attention(query, key, value, group, is_causal=is_causal, scale=scale)

    return attend


def _context_parallel_shard(mesh, buffers, seq_dims, load_balancer=None):
    """This process's parts of tensors, as new ones: a list, or a dictionary for a mapping."""
    if isinstance(buffers, Mapping):
        names = list(buffers)
        parts = _context_parallel_shard(
            mesh, list(buffers.values()), [seq_dims[n] for n in names], load_balancer
        )
        return dict(zip(names, parts, strict=True))
    if len(buffers) != len(seq_dims):
        raise ValueError("`seq_dims` must have the same number of elements as `buffers`.")
    balanced = _balanced(load_balancer)
    rank, size = mesh.get_local_rank(), mesh.size()
    parts = []
    for buffer, dim in zip(buffers, seq_dims, strict=True):
        part = part_of(buffer.detach(), dim, rank, size, balanced)
        parts.append(part.clone() if part._is_view() else part)
    return parts


def _balanced(load_balancer) -> bool:
    if load_balancer is not None and not isinstance(load_balancer, _HeadTailLoadBalancer):
        raise NotImplementedError(
            f"context parallelism with a {type(load_balancer).__name__}: attention knows the order of positions of "
            "_HeadTailLoadBalancer, and plain order"
        )
    return load_balancer is not None or _cp_options.enable_load_balance


def context_parallel_unshard(mesh, buffers, seq_dims, load_balancer=None):
    """The whole tensors, of which each process has its part.

    Args:
        mesh: the mesh that `context_parallel` had.
        buffers: parts: outputs computed within the context, say.
        seq_dims: the sequence dimension of each.
    """
    if len(buffers) != len(seq_dims):
        raise ValueError("`seq_dims` must have the same number of elements as `buffers`.")
    balanced, group = _balanced(load_balancer), mesh.get_group()
    whole = []
    for buffer, dim in zip(buffers, seq_dims, strict=True):
        mine = buffer.detach().contiguous()
        parts = [flambeau.empty_like(mine) for _ in range(mesh.size())]
        dist.all_gather(parts, mine, group)
        whole.append(restore(parts, dim, balanced))
    return whole
