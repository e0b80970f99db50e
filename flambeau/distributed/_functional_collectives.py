"""Collective operations that return new tensors, as PyTorch's parallel styles call them.

They wait for their results before they return, so that `wait_tensor` has nothing left to do. A group is a process group,
its name, a mesh of one dimension, or a mesh and the number of a dimension.
"""

from __future__ import annotations

import flambeau
import flambeau.distributed as dist

from .nn import functional
from .reduce_op import RedOpType, ReduceOp
from .world import resolve

__all__ = [
    "all_gather_tensor",
    "all_gather_tensor_autograd",
    "all_reduce",
    "all_to_all_single",
    "all_to_all_single_autograd",
    "broadcast",
    "permute_tensor",
    "reduce_scatter_tensor",
    "reduce_scatter_tensor_autograd",
    "wait_tensor",
]


def _group(group):
    if isinstance(group, (list, tuple)) and len(group) == 2 and hasattr(group[0], "get_group"):
        return group[0].get_group(group[1])
    if hasattr(group, "get_group"):
        return group.get_group()
    if isinstance(group, list):
        raise NotImplementedError("a group given by a list of ranks: make it with new_group, and pass that")
    return resolve(group)


def _op(name):
    return ReduceOp.RedOpType[name.upper()] if isinstance(name, str) else RedOpType(name)


def wait_tensor(tensor):
    """The tensor: it is there already."""
    return tensor


def all_reduce(self, reduceOp: str, group, tag: str = ""):
    """The reduction of everybody's tensor; `reduceOp` is "sum", "avg", "max" ..."""
    result = self.clone(memory_format=flambeau.contiguous_format)
    dist.all_reduce(result, _op(reduceOp), _group(group))
    return result


def broadcast(self, src: int, group, tag: str = ""):
    """The tensor of process `src`."""
    result = self.clone(memory_format=flambeau.contiguous_format)
    dist.broadcast(result, src, _group(group))
    return result


def all_gather_tensor_autograd(self, gather_dim: int, group, tag: str = ""):
    """Everybody's tensors, concatenated along `gather_dim`."""
    return flambeau.cat(functional.all_gather(self.contiguous(), _group(group)), dim=gather_dim)


def all_gather_tensor(self, gather_dim: int, group, tag: str = ""):
    """Everybody's tensors, concatenated along `gather_dim`, without gradients."""
    return all_gather_tensor_autograd(self.detach(), gather_dim, group)


def reduce_scatter_tensor_autograd(self, reduceOp: str, scatter_dim: int, group, tag: str = ""):
    """This process's part along `scatter_dim` of the reduction of everybody's tensor."""
    found = _group(group)
    if self.size(scatter_dim) % found.size():
        raise AssertionError(
            f"input dimension {scatter_dim} ({self.size(scatter_dim)} must be a multiple of group_size {found.size()})"
        )
    parts = [part.contiguous() for part in self.chunk(found.size(), dim=scatter_dim)]
    return functional.reduce_scatter(flambeau.empty_like(parts[0]), parts, _op(reduceOp), found)


def reduce_scatter_tensor(self, reduceOp: str, scatter_dim: int, group, tag: str = ""):
    """This process's part along `scatter_dim` of the reduction of everybody's tensor, without gradients."""
    found, x = _group(group), self.detach()
    if x.size(scatter_dim) % found.size():
        return reduce_scatter_tensor_autograd(x, reduceOp, scatter_dim, group)  # says what is wrong
    parts = [part.contiguous() for part in x.chunk(found.size(), dim=scatter_dim)]
    result = flambeau.empty_like(parts[0])
    dist.reduce_scatter(result, parts, _op(reduceOp), found)
    return result


def all_to_all_single_autograd(self, output_split_sizes, input_split_sizes, group, tag: str = ""):
    """The parts along dimension 0 that all processes have for this one."""
    rows = self.size(0) if output_split_sizes is None else sum(output_split_sizes)
    output = self.new_empty(rows, *self.shape[1:])
    return functional.all_to_all_single(output, self, output_split_sizes, input_split_sizes, _group(group))


def all_to_all_single(self, output_split_sizes, input_split_sizes, group, tag: str = ""):
    """The parts along dimension 0 that all processes have for this one, without gradients."""
    return all_to_all_single_autograd(self.detach(), output_split_sizes, input_split_sizes, group)


def permute_tensor(self, src_dst: list[int], group, tag: str = ""):
    """The tensor of the process i of which ``src_dst[i]`` is this one."""
    found = _group(group)
    own = found.rank()
    sizes = [0] * found.size()
    sizes[src_dst[own]] = self.numel()
    received = [0] * found.size()
    received[src_dst.index(own)] = self.numel()
    output = flambeau.empty(self.numel(), dtype=self.dtype)
    dist.all_to_all_single(output, self.detach().contiguous().view(-1), received, sizes, found)
    return output.view(self.shape)
