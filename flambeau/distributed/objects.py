"""Operations on Python objects: they travel as pickles.

Unpickling can run any code, so these are for processes that trust each other, as PyTorch's are.
"""

from __future__ import annotations

import pickle

import flambeau

from .operations import all_gather, broadcast, gather, scatter
from .point_to_point import recv, send
from .world import group_rank_of, is_outside, resolve, warn_outside

__all__ = [
    "all_gather_object", "broadcast_object_list", "gather_object", "recv_object_list", "scatter_object_list",
    "send_object_list",
]  # fmt: skip

#: The largest pickle that is accepted from another process.
LARGEST = 1 << 36


def _to_tensor(value):
    data = bytearray(pickle.dumps(value))
    return flambeau.frombuffer(data, dtype=flambeau.uint8)


def _from_tensor(tensor, size: int):
    return pickle.loads(memoryview(tensor.untyped_storage()).cast("B")[tensor.storage_offset() :][:size])


def _checked_sizes(sizes, who: str) -> list[int]:
    sizes = sizes.tolist()
    if any(not 0 <= size <= LARGEST for size in sizes):
        raise RuntimeError(
            f"{who}: sizes of {sizes} bytes were announced, of which none may be above {LARGEST}"
        )
    return sizes


def _sizes_of(tensors):
    return flambeau.tensor([tensor.numel() for tensor in tensors], dtype=flambeau.int64)


def _padded(tensor, size: int):
    if tensor.numel() == size:
        return tensor
    result = flambeau.zeros(size, dtype=flambeau.uint8)
    result[: tensor.numel()] = tensor
    return result


def all_gather_object(object_list: list, obj, group=None) -> None:
    """Fill ``object_list[i]`` with the `obj` of process i, in all processes.

    >>> dist.all_gather_object(objects, {"rank": dist.get_rank()})  # doctest: +SKIP
    """
    if is_outside(group):
        return warn_outside("all_gather_object")
    size = resolve(group)._size
    if len(object_list) != size:
        raise RuntimeError(
            f"all_gather_object: object_list has {len(object_list)} places for {size} processes"
        )
    mine = _to_tensor(obj)
    found = list(flambeau.zeros(size, 1, dtype=flambeau.int64).unbind())
    all_gather(found, _sizes_of([mine]), group)
    sizes = _checked_sizes(flambeau.cat(found), "all_gather_object")
    outputs = list(flambeau.empty(size, max(sizes), dtype=flambeau.uint8).unbind())
    all_gather(outputs, _padded(mine, max(sizes)), group)
    for i, (out, length) in enumerate(zip(outputs, sizes, strict=True)):
        object_list[i] = _from_tensor(out, length)


def gather_object(obj, object_gather_list=None, dst=None, group=None, group_dst=None) -> None:
    """Fill ``object_gather_list[i]`` of process `dst` (default 0) with the `obj` of process i."""
    if is_outside(group):
        return warn_outside("gather_object")
    found = resolve(group)
    root = group_rank_of(found, 0 if dst is None and group_dst is None else dst, group_dst)
    if found._rank == root and not object_gather_list:
        raise ValueError("Argument ``gather_list`` must be specified on destination rank.")
    if found._rank != root and object_gather_list:
        raise ValueError("Argument ``gather_list`` must NOT be specified on non-destination ranks.")
    mine = _to_tensor(obj)
    lengths = list(flambeau.zeros(found._size, 1, dtype=flambeau.int64).unbind())
    all_gather(lengths, _sizes_of([mine]), group)
    sizes = _checked_sizes(flambeau.cat(lengths), "gather_object")
    outputs = None
    if found._rank == root:
        outputs = list(flambeau.empty(found._size, max(sizes), dtype=flambeau.uint8).unbind())
    gather(_padded(mine, max(sizes)), outputs, group=group, group_dst=root)
    for i, out in enumerate(outputs or ()):
        object_gather_list[i] = _from_tensor(out, sizes[i])


def broadcast_object_list(object_list: list, src=None, group=None, device=None, group_src=None) -> None:
    """Replace the objects in everybody's list by those that process `src` (default 0) has."""
    if is_outside(group):
        return warn_outside("broadcast_object_list")
    found = resolve(group)
    root = group_rank_of(found, 0 if src is None and group_src is None else src, group_src)
    is_root = found._rank == root
    tensors = [_to_tensor(value) for value in object_list] if is_root else []
    lengths = _sizes_of(tensors) if is_root else flambeau.zeros(len(object_list), dtype=flambeau.int64)
    broadcast(lengths, group=group, group_src=root)
    sizes = _checked_sizes(lengths, "broadcast_object_list")
    if sum(sizes) == 0:
        return
    all_bytes = flambeau.cat(tensors) if is_root else flambeau.empty(sum(sizes), dtype=flambeau.uint8)
    broadcast(all_bytes, group=group, group_src=root)
    if not is_root:
        _unpack(object_list, all_bytes, sizes)


def _unpack(object_list: list, data, sizes: list[int]) -> None:
    start = 0
    for i, size in enumerate(sizes):
        object_list[i] = _from_tensor(data[start : start + size], size)
        start += size


def scatter_object_list(
    scatter_object_output_list: list, scatter_object_input_list=None, src=None, group=None, group_src=None
) -> None:
    """Put the object that process `src` (default 0) has for this one at the first place of the output list."""
    if is_outside(group):
        return warn_outside("scatter_object_list")
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError("Expected argument scatter_object_output_list to be a list of size at least 1.")
    found = resolve(group)
    root = group_rank_of(found, 0 if src is None and group_src is None else src, group_src)
    tensors = None
    length = flambeau.zeros(2, dtype=flambeau.int64)  # of the longest, and of one's own
    if found._rank == root:
        if scatter_object_input_list is None or len(scatter_object_input_list) != found._size:
            raise ValueError(
                "Argument ``scatter_object_input_list`` must have an object for each process on source rank."
            )
        tensors = [_to_tensor(value) for value in scatter_object_input_list]
        longest = max(tensor.numel() for tensor in tensors)
        scatter(
            length,
            [flambeau.tensor([longest, tensor.numel()]) for tensor in tensors],
            group=group,
            group_src=root,
        )
        tensors = [_padded(tensor, longest) for tensor in tensors]
    else:
        scatter(length, None, group=group, group_src=root)
    longest, own = _checked_sizes(length, "scatter_object_list")
    out = flambeau.empty(longest, dtype=flambeau.uint8)
    scatter(out, tensors, group=group, group_src=root)
    scatter_object_output_list[0] = _from_tensor(out, own)


def send_object_list(object_list, dst=None, group=None, device=None, group_dst=None, use_batch=False) -> None:
    """Send the objects of a list to process `dst`."""
    if is_outside(group):
        return warn_outside("send_object_list")
    tensors = [_to_tensor(value) for value in object_list]
    send(_sizes_of(tensors), dst, group, group_dst=group_dst)
    send(flambeau.cat(tensors), dst, group, group_dst=group_dst)


def recv_object_list(object_list, src=None, group=None, device=None, group_src=None, use_batch=False) -> int:
    """Fill a list with the objects that process `src`, or any if it is None, has sent. Returns who it was."""
    if is_outside(group):
        warn_outside("recv_object_list")
        return -1
    lengths = flambeau.zeros(len(object_list), dtype=flambeau.int64)
    who = recv(lengths, src, group, group_src=group_src)
    sizes = _checked_sizes(lengths, "recv_object_list")
    data = flambeau.empty(sum(sizes), dtype=flambeau.uint8)
    recv(data, who, group)
    _unpack(object_list, data, sizes)
    return who
