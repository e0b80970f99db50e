"""Collective operations on tensors: arguments are checked, and brought into the form that the algorithms take."""

from __future__ import annotations

import warnings

import flambeau

from .constants import seconds_of
from .reduce_op import RedOpType, ReduceOp, checked
from .world import group_rank_of, is_outside, resolve, warn_outside

__all__ = [
    "all_gather", "all_gather_coalesced", "all_gather_into_tensor", "all_gather_single", "all_reduce",
    "all_reduce_coalesced", "all_to_all", "all_to_all_single", "barrier", "broadcast", "gather", "monitored_barrier",
    "reduce", "reduce_scatter", "reduce_scatter_single", "reduce_scatter_tensor", "scatter", "supports_complex",
]  # fmt: skip

Tensor = flambeau.Tensor

# ---- checks


def check_tensor(tensor, name: str) -> None:
    """Refuse what is no tensor of this host's memory."""
    if not isinstance(tensor, Tensor):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type torch.Tensor\n             but got "
            f"{type(tensor)} instead."
        )
    if tensor.device.type != "cpu":
        raise RuntimeError(f"No backend type associated with device type {tensor.device.type}")
    if tensor.layout is not flambeau.strided:
        raise RuntimeError(
            f"`{name}`: unsupported layout {tensor.layout}: send its parts, or tensor.to_dense()"
        )


def check_list(tensors, name: str) -> None:
    """Refuse what is no list of tensors."""
    if not isinstance(tensors, (list, tuple)) or not all(isinstance(t, Tensor) for t in tensors):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type List[torch.Tensor]\n             but got "
            f"{type(tensors)} instead."
        )
    for tensor in tensors:
        check_tensor(tensor, name)


def _check_dtypes(*tensors) -> None:
    for tensor in tensors[1:]:
        if tensor.dtype is not tensors[0].dtype:
            raise ValueError(
                f"Invalid usage of tensors with different dtypesFound {tensors[0].dtype} and  {tensor.dtype}"
            )


def supports_complex(reduceOp) -> bool:
    """Whether a reduction has a meaning for complex numbers: sums and averages have."""
    return reduceOp in (RedOpType.SUM, RedOpType.AVG, RedOpType.PREMUL_SUM)


def _checked_op(name: str, op, tensor):
    if tensor.is_complex() and not supports_complex(op):
        raise ValueError(f"{name} does not support {op!s} on complex tensors")
    return checked(op, tensor)


def _check_root(name: str, group, root: int) -> int:
    if not 0 <= root < group._size:
        raise RuntimeError(f"ProcessGroupGloo::{name}: invalid root rank: {root}")
    return root


# ---- forms


def flatten(tensor):
    """The tensor's elements as one contiguous dimension: its own memory where that is contiguous."""
    tensor = tensor.detach()
    if tensor.is_complex():
        tensor = tensor.resolve_conj()
    return tensor.contiguous().view(-1)


def write_back(tensor, flat) -> None:
    """Give a tensor the elements of what `flatten` made of it."""
    if not (tensor.is_contiguous() and flat.data_ptr() == tensor.data_ptr()):
        tensor.detach().copy_(flat.view(tensor.shape))


def _empty_flat(tensor):
    return flambeau.empty(tensor.numel(), dtype=tensor.dtype)


def _fillable(tensor):
    """Memory to receive a tensor's elements in: its own where that is contiguous."""
    return tensor.detach().view(-1) if tensor.is_contiguous() else _empty_flat(tensor)


def _fill(outputs, flats) -> None:
    for out, flat in zip(outputs, flats, strict=True):
        write_back(out, flat)


# ---- reductions


def all_reduce(tensor, op=ReduceOp.SUM, group=None, async_op: bool = False):
    """Replace the tensor of every process of the group by the reduction of them all; all get the same bits.

    Args:
        tensor: of one shape and dtype in all processes; it may be non-contiguous.
        op: one of `ReduceOp`'s operations.
        group: default: all processes.
        async_op: return a `Work` at once; the tensor is ready after its `wait()`.

    >>> dist.all_reduce(tensor)  # doctest: +SKIP
    """
    check_tensor(tensor, "tensor")
    if is_outside(group):
        return warn_outside("all_reduce")
    op = _checked_op("all_reduce", op, tensor)

    def run(collectives) -> None:
        flat = flatten(tensor)
        collectives.all_reduce(flat, op)
        write_back(tensor, flat)

    return resolve(group).run(run, (tensor,), async_op)


def all_reduce_coalesced(tensors, op=ReduceOp.SUM, group=None, async_op: bool = False):
    """`all_reduce` of every tensor of a list, as one operation."""
    tensors = [tensors] if isinstance(tensors, Tensor) else tensors
    check_list(tensors, "tensor")
    _check_dtypes(*tensors)
    if is_outside(group):
        return warn_outside("all_reduce_coalesced")
    ops = [_checked_op("all_reduce_coalesced", op, tensor) for tensor in tensors]

    def run(collectives) -> None:
        for tensor, each in zip(tensors, ops, strict=True):
            flat = flatten(tensor)
            collectives.all_reduce(flat, each)
            write_back(tensor, flat)

    return resolve(group).run(run, tensors, async_op)


def reduce(tensor, dst=None, op=ReduceOp.SUM, group=None, async_op: bool = False, group_dst=None):
    """Replace the tensor of process `dst` by the reduction of all tensors. The others keep theirs."""
    if is_outside(group):
        return warn_outside("reduce")
    found = resolve(group)
    root = _check_root("reduce", found, group_rank_of(found, dst, group_dst))
    check_tensor(tensor, "tensor")
    op = _checked_op("reduce", op, tensor)

    def run(collectives) -> None:
        flat = flatten(tensor)
        collectives.reduce(flat, root, op)
        if found._rank == root:
            write_back(tensor, flat)

    return found.run(run, (tensor,), async_op)


def reduce_scatter(output, input_list, op=ReduceOp.SUM, group=None, async_op: bool = False):
    """Reduce ``input_list[i]`` over all processes into the `output` of process i."""
    check_tensor(output, "output")
    check_list(input_list, "input_list")
    _check_dtypes(output, *input_list)
    if is_outside(group):
        return warn_outside("reduce_scatter")
    found = resolve(group)
    if len(input_list) != found._size:
        raise RuntimeError("invalid input tensor list size, must be world size")
    own = input_list[found._rank]
    if own.numel() != output.numel():
        raise RuntimeError(
            f"ProcessGroupGloo::reduce_scatter: output of shape {list(output.shape)} for input_list[{found._rank}] of "
            f"shape {list(own.shape)}: they must have one size"
        )
    op = _checked_op("reduce_scatter", op, output)

    def run(collectives) -> None:
        flat = _fillable(output)
        collectives.reduce_scatter(flat, [flatten(tensor) for tensor in input_list], op)
        write_back(output, flat)

    return found.run(run, (output,), async_op)


def reduce_scatter_single(output, input, op=ReduceOp.SUM, group=None, async_op: bool = False):
    """Reduce `input` over all processes, and give process i the i-th of its equal parts.

    Shapes: `input` has as many elements as all outputs together: they are concatenated, or stacked.
    """
    check_tensor(output, "output")
    check_tensor(input, "input")
    if is_outside(group):
        return warn_outside("reduce_scatter_single")
    found = resolve(group)
    if output.dtype is not input.dtype:
        raise RuntimeError(
            f"Check failed: outputTensors[i].dtype() == inputTensors[i].dtype() ({output.dtype} vs. {input.dtype})"
        )
    if output.numel() * found._size != input.numel():
        raise RuntimeError(
            f"Check failed: outputShape[0] * worldSize == inputShape[0] ({output.numel() * found._size} vs. "
            f"{input.numel()}): input tensor must be the same size as output size times world size"
        )
    op = _checked_op("reduce_scatter_single", op, output)

    def run(collectives) -> None:
        flat, source, count = _fillable(output), flatten(input), output.numel()
        parts = [source[i * count : (i + 1) * count] for i in range(found._size)]
        collectives.reduce_scatter(flat, parts, op)
        write_back(output, flat)

    return found.run(run, (output,), async_op)


def reduce_scatter_tensor(output, input, op=ReduceOp.SUM, group=None, async_op: bool = False):
    """The former name of `reduce_scatter_single`."""
    _warn_renamed("reduce_scatter_tensor", "reduce_scatter_single")
    return reduce_scatter_single(output, input, op, group, async_op)


# ---- moves


def broadcast(tensor, src=None, group=None, async_op: bool = False, group_src=None):
    """Give all processes the elements that `tensor` has in process `src`.

    Args:
        src: a number among all processes; or `group_src`, a number in the group.
    """
    if is_outside(group):
        return warn_outside("broadcast")
    found = resolve(group)
    root = _check_root("broadcast", found, group_rank_of(found, src, group_src))
    check_tensor(tensor, "tensor")

    def run(collectives) -> None:
        flat = flatten(tensor)
        collectives.broadcast(flat, root)
        if found._rank != root:
            write_back(tensor, flat)

    return found.run(run, (tensor,), async_op)


def all_gather(tensor_list, tensor, group=None, async_op: bool = False):
    """Fill ``tensor_list[i]`` with the `tensor` of process i, in all processes."""
    check_list(tensor_list, "tensor_list")
    check_tensor(tensor, "tensor")
    _check_dtypes(*tensor_list, tensor)
    if is_outside(group):
        return warn_outside("all_gather")
    found = resolve(group)
    if len(tensor_list) != found._size:
        raise RuntimeError(
            "ProcessGroupGloo::allgather: invalid output tensor list at index 0 (expected length "
            f"{found._size}, got {len(tensor_list)})"
        )
    for i, out in enumerate(tensor_list):
        if out.shape != tensor.shape:
            raise RuntimeError(
                f"ProcessGroupGloo::allgather: invalid tensor size at index {i} (expected "
                f"({', '.join(map(str, tensor.shape))}), got ({', '.join(map(str, out.shape))}))"
            )

    def run(collectives) -> None:
        flats = [_fillable(out) for out in tensor_list]
        collectives.all_gather(flats, flatten(tensor))
        _fill(tensor_list, flats)

    return found.run(run, tensor_list, async_op)


def all_gather_coalesced(output_tensor_lists, input_tensor_list, group=None, async_op: bool = False):
    """`all_gather` of every tensor of a list: ``output_tensor_lists[i][j]`` is input j of process i."""
    check_list(input_tensor_list, "input_tensor_list")
    if is_outside(group):
        return warn_outside("all_gather_coalesced")
    found = resolve(group)
    if len(output_tensor_lists) != found._size:
        raise RuntimeError(
            f"output lists should be equal to world size: {found._size}, got {len(output_tensor_lists)}"
        )
    for outputs in output_tensor_lists:
        check_list(outputs, "output_tensor_lists")
        if [(o.shape, o.dtype) for o in outputs] != [(i.shape, i.dtype) for i in input_tensor_list]:
            raise RuntimeError("every list of outputs must have the shapes and dtypes of input_tensor_list")

    def run(collectives) -> None:
        for j, tensor in enumerate(input_tensor_list):
            outputs = [each[j] for each in output_tensor_lists]
            flats = [_fillable(out) for out in outputs]
            collectives.all_gather(flats, flatten(tensor))
            _fill(outputs, flats)

    return found.run(run, [out for outputs in output_tensor_lists for out in outputs], async_op)


def all_gather_single(output_tensor, input_tensor, group=None, async_op: bool = False):
    """Put the tensors of all processes into one, in the order of ranks.

    Shapes: `output_tensor` has as many elements as all inputs: they are concatenated, or stacked.
    """
    check_tensor(output_tensor, "output_tensor")
    check_tensor(input_tensor, "input_tensor")
    if is_outside(group):
        return warn_outside("all_gather_single")
    found = resolve(group)
    if output_tensor.dtype is not input_tensor.dtype:
        raise RuntimeError(
            f"ProcessGroupGloo::allgather: invalid tensor type at index 0 (expected {input_tensor.dtype}, got "
            f"{output_tensor.dtype})"
        )
    if output_tensor.numel() != input_tensor.numel() * found._size:
        raise RuntimeError(
            f"ProcessGroupGloo::allgather: invalid tensor size at index 0 (expected {input_tensor.numel() * found._size} "
            f"elements, got {output_tensor.numel()}): output tensor size must be equal to world_size times input tensor "
            "size"
        )

    def run(collectives) -> None:
        flat = _fillable(output_tensor)
        count = input_tensor.numel()
        parts = [flat[i * count : (i + 1) * count] for i in range(found._size)]
        collectives.all_gather(parts, flatten(input_tensor))
        write_back(output_tensor, flat)

    return found.run(run, (output_tensor,), async_op)


def all_gather_into_tensor(output_tensor, input_tensor, group=None, async_op: bool = False):
    """The former name of `all_gather_single`."""
    _warn_renamed("all_gather_into_tensor", "all_gather_single")
    return all_gather_single(output_tensor, input_tensor, group, async_op)


def gather(tensor, gather_list=None, dst=None, group=None, async_op: bool = False, group_dst=None):
    """Fill ``gather_list[i]`` in process `dst` (default 0) with the `tensor` of process i."""
    check_tensor(tensor, "tensor")
    if is_outside(group):
        return warn_outside("gather")
    found = resolve(group)
    dst = 0 if dst is None and group_dst is None else dst
    root = _check_root("gather", found, group_rank_of(found, dst, group_dst))
    _check_root_list(found, root, gather_list, "gather_list", "destination")
    if gather_list:
        _check_count("gather", "output", gather_list, found._size)
        _check_dtypes(*gather_list, tensor)
        _check_shapes("gather", gather_list, tensor)

    def run(collectives) -> None:
        flats = [_fillable(out) for out in gather_list] if gather_list else None
        collectives.gather(flats, flatten(tensor), root)
        if gather_list:
            _fill(gather_list, flats)

    return found.run(run, gather_list or (), async_op)


def scatter(tensor, scatter_list=None, src=None, group=None, async_op: bool = False, group_src=None):
    """Fill `tensor` in process i with ``scatter_list[i]`` of process `src` (default 0)."""
    check_tensor(tensor, "tensor")
    if is_outside(group):
        return warn_outside("scatter")
    found = resolve(group)
    src = 0 if src is None and group_src is None else src
    root = _check_root("scatter", found, group_rank_of(found, src, group_src))
    _check_root_list(found, root, scatter_list, "scatter_list", "source")
    if scatter_list:
        _check_count("scatter", "input", scatter_list, found._size)
        _check_dtypes(*scatter_list, tensor)
        _check_shapes("scatter", scatter_list, tensor)

    def run(collectives) -> None:
        flat = _fillable(tensor)
        collectives.scatter(flat, [flatten(t) for t in scatter_list] if scatter_list else None, root)
        write_back(tensor, flat)

    return found.run(run, (tensor,), async_op)


def _check_root_list(group, root: int, tensors, name: str, kind: str) -> None:
    if tensors is not None:
        check_list(tensors, name)
    if group._rank == root and not tensors:
        raise ValueError(f"Argument ``{name}`` must be specified on {kind} rank.")
    if group._rank != root and tensors:
        raise ValueError(f"Argument ``{name}`` must NOT be specified on non-{kind} ranks.")


def _check_count(name: str, kind: str, tensors, size: int) -> None:
    if len(tensors) != size:
        raise RuntimeError(
            f"ProcessGroupGloo::{name}: Incorrect {kind} list size {len(tensors)}. {kind.capitalize()} list size should "
            f"be {size}, same as size of the process group."
        )


def _check_shapes(name: str, tensors, tensor) -> None:
    for i, each in enumerate(tensors):
        if each.shape != tensor.shape:
            raise RuntimeError(
                f"ProcessGroupGloo::{name}: invalid tensor size at index {i} (expected "
                f"({', '.join(map(str, tensor.shape))}), got ({', '.join(map(str, each.shape))}))"
            )


def all_to_all(output_tensor_list, input_tensor_list, group=None, async_op: bool = False):
    """Fill ``output_tensor_list[j]`` of process i with ``input_tensor_list[i]`` of process j. Sizes may differ."""
    check_list(output_tensor_list, "output_tensor_list")
    check_list(input_tensor_list, "input_tensor_list")
    _check_dtypes(*output_tensor_list, *input_tensor_list)
    if is_outside(group):
        return warn_outside("all_to_all")
    found = resolve(group)
    for name, tensors in (
        ("output_tensor_list", output_tensor_list),
        ("input_tensor_list", input_tensor_list),
    ):
        if len(tensors) != found._size:
            raise RuntimeError(
                f"all_to_all: {name} has {len(tensors)} tensors, and the group {found._size} processes"
            )
    _check_own_part(found, output_tensor_list[found._rank].numel(), input_tensor_list[found._rank].numel())

    def run(collectives) -> None:
        flats = [_fillable(out) for out in output_tensor_list]
        collectives.all_to_all(flats, [flatten(tensor) for tensor in input_tensor_list])
        _fill(output_tensor_list, flats)

    return found.run(run, output_tensor_list, async_op)


def _check_own_part(group, received: int, sent: int) -> None:
    if received != sent:
        raise RuntimeError(
            f"all_to_all: rank {group._rank} sends itself {sent} elements and expects {received} of itself"
        )


def _bounds(tensor, sizes, count: int) -> list[tuple[int, int]]:
    """Which elements of the flat tensor belong to each process: split along dimension 0."""
    if not sizes:
        rows = tensor.size(0) if tensor.dim() else 0
        if rows % count:
            raise RuntimeError("Tensor's dim 0 does not divide equally across group size")
        sizes = [rows // count] * count
    if len(sizes) != count:
        raise RuntimeError("Number of tensor splits not equal to group size")
    if min(sizes) < 0 or sum(sizes) != tensor.size(0):
        raise RuntimeError("Split sizes doesn't match total dim 0 size")
    row = tensor.numel() // tensor.size(0) if tensor.size(0) else 0
    bounds, start = [], 0
    for size in sizes:
        bounds.append((start, start + size * row))
        start += size * row
    return bounds


def all_to_all_single(
    output, input, output_split_sizes=None, input_split_sizes=None, group=None, async_op: bool = False
):
    """Send process i the i-th part of `input` along dimension 0, and put what comes into `output`, in order.

    Args:
        output_split_sizes, input_split_sizes: rows for each process; by default they are equal.
    """
    if is_outside(group):
        return warn_outside("all_to_all_single")
    check_tensor(output, "output")
    check_tensor(input, "input")
    _check_dtypes(output, input)
    found = resolve(group)
    out_bounds = _bounds(output, output_split_sizes, found._size)
    in_bounds = _bounds(input, input_split_sizes, found._size)
    own_out, own_in = out_bounds[found._rank], in_bounds[found._rank]
    _check_own_part(found, own_out[1] - own_out[0], own_in[1] - own_in[0])

    def run(collectives) -> None:
        flat, source = _fillable(output), flatten(input)
        collectives.all_to_all([flat[a:b] for a, b in out_bounds], [source[a:b] for a, b in in_bounds])
        write_back(output, flat)

    return found.run(run, (output,), async_op)


# ---- meeting


def barrier(group=None, async_op: bool = False, device_ids=None, timeout=None):
    """Return when all processes of the group have called this.

    Args:
        timeout: a `timedelta` to wait at most; the default is the group's.
    """
    if is_outside(group):
        return warn_outside("barrier")
    found = resolve(group)
    if timeout is not None and not async_op:
        return found.wait_limited(seconds_of(timeout), lambda collectives: collectives.barrier())
    return found.run(lambda collectives: collectives.barrier(), (), async_op)


def monitored_barrier(group=None, timeout=None, wait_all_ranks: bool = False) -> None:
    """A `barrier` after which process 0 of the group knows who did not come in time, and says so.

    Args:
        timeout: a `timedelta` to wait at most; the default is the group's.
        wait_all_ranks: name all processes that did not come, not only the first.
    """
    if is_outside(group):
        return warn_outside("monitored_barrier")
    from .meeting import meet

    found = resolve(group)
    return meet(found, seconds_of(found._timeout if timeout is None else timeout), wait_all_ranks)


def _warn_renamed(old: str, new: str) -> None:
    warnings.warn(
        f"`torch.distributed.{old}` is deprecated. Please use `torch.distributed.{new}` instead.",
        FutureWarning,
        stacklevel=3,
    )
