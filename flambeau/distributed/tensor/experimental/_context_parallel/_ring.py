"""Attention of queries, keys and values of which each process holds a part, by passing keys and values around.

Note [Ring attention]: the softmax over all keys is put together from its parts. A process computes, for its queries and the
keys of one process, the output o_i and the logarithm l_i of the sum of exp of the scores; with l = log(sum of exp(l_i)),
the whole output is the sum of exp(l_i - l) * o_i. Given l and the whole output, the gradient splits into a sum over the
parts of the keys, so that the backward pass is a ring as well, in which the gradients of keys and values travel with them.

Under a causal mask, with the parts that _load_balancer.py deals out, process r and keys of process s have three cases, all
without a mask of their own but the first: s == r is causal in itself; for s < r all queries look at the first half of the
keys; for s > r the second half of the queries looks at all keys.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import flambeau
import flambeau.distributed as dist
from flambeau._ops.attention import _fused, _fused_backward, default_scale
from flambeau.autograd import Function

__all__ = ["_RotateMethod", "_cp_options", "ring_attention"]


class _RotateMethod(enum.Enum):
    """How keys and values come: from neighbour to neighbour while others are in use, or all at once at the start."""

    ALL_TO_ALL = 1
    ALL_GATHER = 2


@dataclass
class _Options:
    """Settings of context parallelism."""

    convert_to_f32: bool = True  # parts of results in half precision are put together in float32
    enable_load_balance: bool = True
    rotate_method: _RotateMethod = _RotateMethod.ALL_TO_ALL


_cp_options = _Options()


def ring_attention(query, key, value, group=None, *, is_causal=False, scale=None, load_balance=None):
    """``scaled_dot_product_attention`` over the sequences that the parts of all processes make up.

    Shapes: query (..., L, E), key (..., S, E), value (..., S, Ev), the same in all processes; the result has (..., L, Ev).

    Args:
        group: the processes, by default all.
        is_causal: a query looks at keys up to its own position in the whole sequence only; then L == S.
        scale: default ``1 / sqrt(E)``.
        load_balance: whether the parts are those of `context_parallel` (default), or plain neighbouring ones.

    >>> out = ring_attention(q, k, v, is_causal=True)  # doctest: +SKIP
    """
    group = dist.distributed_c10d._get_default_group() if group is None else group
    balanced = _cp_options.enable_load_balance if load_balance is None else load_balance
    shapes = f"query {list(query.shape)}, key {list(key.shape)}, value {list(value.shape)}"
    if not (
        query.dim() == key.dim() == value.dim() >= 3
        and query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
    ):
        raise RuntimeError(
            f"ring_attention: expected operands with the same leading dimensions, got {shapes}"
        )
    if (
        key.size(-2) != value.size(-2)
        or query.size(-1) != key.size(-1)
        or not query.dtype == key.dtype == value.dtype
    ):
        raise RuntimeError(f"ring_attention: operands do not fit each other: {shapes}")
    if min(query.numel(), key.numel(), value.numel()) == 0:
        raise RuntimeError(f"ring_attention: expected operands with elements, got {shapes}")
    if is_causal and query.size(-2) != key.size(-2):
        raise RuntimeError(f"ring_attention: is_causal needs as many keys as queries, got {shapes}")
    if is_causal and balanced and query.size(-2) % 2:
        raise RuntimeError(f"ring_attention: a balanced part has two halves, got {shapes}")
    scale = default_scale(query) if scale is None else float(scale)
    return _RingAttention.apply(query, key, value, group, bool(is_causal), scale, balanced)


def _work_dtype(dtype):
    half = dtype in (flambeau.float16, flambeau.bfloat16)
    return flambeau.float32 if half and _cp_options.convert_to_f32 else dtype


def _block(rank: int, source: int, rows: int, is_causal: bool, balanced: bool):
    """Which queries look at which keys of a process: (first query, number of keys, causal), or None."""
    if not is_causal or rank == source:
        return 0, None, is_causal
    if not balanced:
        return (0, None, False) if source < rank else None
    return (0, rows // 2, False) if source < rank else (rows // 2, None, False)


class _Rotation:
    """Tensors that go around the ring, one process further with each `start` and `wait`."""

    def __init__(self, group):
        self.group = group
        self._to = dist.get_global_rank(group, (group.rank() + 1) % group.size())
        self._frm = dist.get_global_rank(group, (group.rank() - 1) % group.size())

    def start(self, flat) -> None:
        """Pass a flat tensor on. It must stay as it is until `wait`."""
        self._coming = flambeau.empty_like(flat)
        self._works = dist.batch_isend_irecv(
            [
                dist.P2POp(dist.irecv, self._coming, self._frm, self.group),
                dist.P2POp(dist.isend, flat, self._to, self.group),
            ]
        )

    def wait(self):
        """What has come."""
        for work in self._works:
            work.wait()
        return self._coming


def _pack(*tensors):
    return flambeau.cat([tensor.reshape(-1) for tensor in tensors])


def _unpack(flat, *shapes):
    found, start = [], 0
    for shape in shapes:
        count = shape.numel()
        found.append(flat[start : start + count].view(shape))
        start += count
    return found


def _keys_and_values(key, value, group):
    """(process, its keys and values), starting with one's own; the next ones travel while these are in use."""
    size, rank = group.size(), group.rank()
    flat = _pack(key, value)
    if _cp_options.rotate_method is _RotateMethod.ALL_GATHER:
        gathered = flambeau.empty(size, flat.numel(), dtype=flat.dtype)
        dist.all_gather_single(gathered, flat, group)
        for step in range(size):
            source = (rank - step) % size
            yield source, *_unpack(gathered[source], key.shape, value.shape)
        return
    rotation = _Rotation(group)
    for step in range(size):
        if step + 1 < size:
            rotation.start(flat)
        yield (rank - step) % size, *_unpack(flat, key.shape, value.shape)
        if step + 1 < size:
            flat = rotation.wait()


class _RingAttention(Function):
    @staticmethod
    def forward(ctx, query, key, value, group, is_causal, scale, balanced):
        dtype = _work_dtype(query.dtype)
        q, rows = query.to(dtype), query.size(-2)
        out = log_sum = None
        for source, k, v in _keys_and_values(key, value, group):
            block = _block(group.rank(), source, rows, is_causal, balanced)
            if block is None:
                continue
            first, keys, causal = block
            k, v = k[..., :keys, :].to(dtype), v[..., :keys, :].to(dtype)
            part, part_log_sum = _fused(q[..., first:, :], k, v, None, causal, scale)
            if out is None:
                out, log_sum = part, part_log_sum
            else:
                _merge(out[..., first:, :], log_sum[..., first:], part, part_log_sum)
        ctx.save_for_backward(query, key, value, out, log_sum)
        ctx.options = group, is_causal, scale, balanced
        return out.to(query.dtype)

    @staticmethod
    def backward(ctx, grad):
        query, key, value, out, log_sum = ctx.saved_tensors
        group, is_causal, scale, balanced = ctx.options
        dtype, rows = out.dtype, query.size(-2)
        q, g = query.to(dtype), grad.to(dtype)
        grad_q = flambeau.zeros_like(q)
        # The gradients of a process's keys and values follow them, one step behind.
        grads = flambeau.zeros(key.numel() + value.numel(), dtype=dtype)
        rotation, moving = _Rotation(group), False
        for source, k, v in _keys_and_values(key, value, group):
            block = _block(group.rank(), source, rows, is_causal, balanced)
            if block is not None:
                first, keys, causal = block
                k, v = k[..., :keys, :].to(dtype), v[..., :keys, :].to(dtype)
                g_part, q_part, out_part = (x[..., first:, :] for x in (g, q, out))
                of_q, of_k, of_v = _fused_backward(
                    g_part, q_part, k, v, None, out_part, log_sum[..., first:], causal, scale
                )
                grad_q[..., first:, :] += of_q
            if moving:
                grads = rotation.wait()
            if block is not None:
                grad_k, grad_v = _unpack(grads, key.shape, value.shape)
                grad_k[..., :keys, :] += of_k
                grad_v[..., :keys, :] += of_v
            if group.size() > 1:
                rotation.start(grads)
                moving = True
        if moving:
            grads = rotation.wait()  # the last step brings them home
        grad_k, grad_v = _unpack(grads, key.shape, value.shape)
        return grad_q.to(query.dtype), grad_k.to(key.dtype), grad_v.to(value.dtype), None, None, None, None


def _merge(out, log_sum, part, part_log_sum) -> None:
    """Put another part into the running output: see the note *Ring attention*."""
    total = flambeau.logaddexp(log_sum, part_log_sum)
    out.mul_((log_sum - total).exp_().unsqueeze(-1)).add_(part * (part_log_sum - total).exp_().unsqueeze(-1))
    log_sum.copy_(total)
