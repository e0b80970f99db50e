"""Collective operations with gradients: each returns new tensors, and its gradient is another collective operation.

The loss of which gradients are taken is the sum of the losses of all processes. All processes therefore have to run the
backward pass too.
"""

from __future__ import annotations

import flambeau
import flambeau.distributed as dist
from flambeau.autograd import Function
from flambeau.distributed import ReduceOp

__all__ = [
    "all_gather",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "broadcast",
    "gather",
    "reduce",
    "reduce_scatter",
    "scatter",
]


def _same(op) -> None:
    if op not in (ReduceOp.SUM, ReduceOp.AVG):
        raise RuntimeError(
            f"gradients of collective operations exist for ReduceOp.SUM and AVG, not for {op!r}"
        )


def all_reduce(tensor, op=ReduceOp.SUM, group=None):
    """The reduction of everybody's tensor, in every process."""
    return _AllReduce.apply(op, group, tensor)


def reduce(tensor, dst, op=ReduceOp.SUM, group=None):
    """The reduction of everybody's tensor in process `dst`; the tensor's own elements in the others."""
    return _Reduce.apply(dst, op, group, tensor)


def broadcast(tensor, src, group=None):
    """The tensor of process `src`, in every process."""
    return _Broadcast.apply(src, group, tensor)


def gather(tensor, dst=0, group=None):
    """A tuple of everybody's tensors in process `dst`; of zeros in the others."""
    return _Gather.apply(dst, group, tensor)


def scatter(tensors, src=0, group=None):
    """The tensor that process `src` has for this one in its list."""
    return _Scatter.apply(src, group, *tensors)


def all_gather(tensor, group=None):
    """A tuple of everybody's tensors, in every process."""
    return _AllGather.apply(group, tensor)


def reduce_scatter(output, input_list, op=ReduceOp.SUM, group=None):
    """The reduction over all processes of the tensor that each has for this one in its list."""
    return _ReduceScatter.apply(op, group, output, *input_list)


def all_to_all(output_tensor_list, input_tensor_list, group=None):
    """A tuple of the tensors that all processes have for this one in their lists."""
    return _AllToAll.apply(group, output_tensor_list, *input_tensor_list)


def all_to_all_single(output, input, output_split_sizes=None, input_split_sizes=None, group=None):
    """The parts along dimension 0 that all processes have for this one, one after the other."""
    return _AllToAllSingle.apply(group, output, output_split_sizes, input_split_sizes, input)


class _AllReduce(Function):
    @staticmethod
    def forward(ctx, op, group, tensor):
        _same(op)
        ctx.op, ctx.group = op, group
        result = tensor.clone(memory_format=flambeau.contiguous_format)
        dist.all_reduce(result, op, group)
        return result

    @staticmethod
    def backward(ctx, grad):
        return None, None, all_reduce(grad, ctx.op, ctx.group)


class _Reduce(Function):
    @staticmethod
    def forward(ctx, dst, op, group, tensor):
        if op != ReduceOp.SUM:
            raise RuntimeError(f"the gradient of reduce exists for ReduceOp.SUM, not for {op!r}")
        ctx.dst, ctx.group = dst, group
        result = tensor.clone(memory_format=flambeau.contiguous_format)
        dist.reduce(result, dst, op, group)
        return result

    @staticmethod
    def backward(ctx, grad):
        return None, None, None, broadcast(grad, ctx.dst, ctx.group)


class _Broadcast(Function):
    @staticmethod
    def forward(ctx, src, group, tensor):
        ctx.src, ctx.group = src, group
        result = tensor.clone(memory_format=flambeau.contiguous_format)
        dist.broadcast(result, src, group)
        return result

    @staticmethod
    def backward(ctx, grad):
        total = reduce(grad, ctx.src, ReduceOp.SUM, ctx.group)
        return None, None, total if dist.get_rank() == ctx.src else flambeau.zeros_like(total)


class _Gather(Function):
    @staticmethod
    def forward(ctx, dst, group, tensor):
        ctx.dst, ctx.group = dst, group
        parts = [flambeau.zeros_like(tensor) for _ in range(dist.get_world_size(group))]
        dist.gather(tensor, parts if dist.get_rank() == dst else None, dst, group)
        return tuple(parts)

    @staticmethod
    def backward(ctx, *grads):
        return None, None, scatter(grads, ctx.dst, ctx.group)


class _Scatter(Function):
    @staticmethod
    def forward(ctx, src, group, *tensors):
        ctx.src, ctx.group = src, group
        out = flambeau.zeros_like(tensors[0])
        dist.scatter(out, list(tensors) if dist.get_rank() == src else None, src, group)
        return out

    @staticmethod
    def backward(ctx, grad):
        return None, None, *gather(grad, ctx.src, ctx.group)


class _AllGather(Function):
    @staticmethod
    def forward(ctx, group, tensor):
        ctx.group = group
        parts = [flambeau.empty_like(tensor) for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, tensor, group)
        return tuple(parts)

    @staticmethod
    def backward(ctx, *grads):
        own = flambeau.empty_like(grads[dist.get_rank(ctx.group)])
        return None, reduce_scatter(own, grads, ReduceOp.SUM, ctx.group)


class _ReduceScatter(Function):
    @staticmethod
    def forward(ctx, op, group, output, *inputs):
        _same(op)
        ctx.op, ctx.group = op, group
        result = flambeau.empty_like(output)
        dist.reduce_scatter(result, list(inputs), op, group)
        return result

    @staticmethod
    def backward(ctx, grad):
        grads = all_gather(grad, ctx.group)
        if ctx.op == ReduceOp.AVG:
            grads = tuple(each / dist.get_world_size(ctx.group) for each in grads)
        return None, None, None, *grads


class _AllToAll(Function):
    @staticmethod
    def forward(ctx, group, outputs, *inputs):
        ctx.group = group
        ctx.shapes = [tensor.shape for tensor in inputs]
        results = [flambeau.empty_like(out) for out in outputs]
        dist.all_to_all(results, list(inputs), group)
        return tuple(results)

    @staticmethod
    def backward(ctx, *grads):
        back = [grads[0].new_empty(shape) for shape in ctx.shapes]
        return None, None, *all_to_all(back, grads, ctx.group)


class _AllToAllSingle(Function):
    @staticmethod
    def forward(ctx, group, output, output_sizes, input_sizes, input):
        ctx.group, ctx.sizes, ctx.shape = group, (output_sizes, input_sizes), input.shape
        result = flambeau.empty_like(output)
        dist.all_to_all_single(result, input, output_sizes, input_sizes, group)
        return result

    @staticmethod
    def backward(ctx, grad):
        output_sizes, input_sizes = ctx.sizes
        back = grad.new_empty(ctx.shape)
        return None, None, None, None, all_to_all_single(back, grad, input_sizes, output_sizes, ctx.group)
