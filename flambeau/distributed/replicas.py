"""Making copies of a module the same in all processes."""

from __future__ import annotations

import flambeau

from .objects import all_gather_object
from .operations import flatten, write_back

__all__ = ["broadcast_tensors", "check_same_shapes"]


def broadcast_tensors(tensors: list, group, source: int = 0) -> None:
    """Give all processes of a group the elements that its process `source` has; small tensors travel together."""

    def run(collectives) -> None:
        by_dtype: dict = {}
        for tensor in tensors:
            by_dtype.setdefault(tensor.dtype, []).append(tensor)
        for same in by_dtype.values():
            flat = flatten(same[0]) if len(same) == 1 else flambeau.cat([flatten(t) for t in same])
            collectives.broadcast(flat, source)
            if group.rank() != source:
                start = 0
                for tensor in same:
                    write_back(tensor, flat[start : start + tensor.numel()])
                    start += tensor.numel()

    if group.size() > 1 and tensors:
        group.run(run)


def check_same_shapes(named: list, group) -> None:
    """Refuse parameters whose number, shapes or dtypes differ between the processes of a group."""
    if group.size() == 1:
        return
    own = [(name, tuple(p.shape), str(p.dtype)) for name, p in named]
    every: list = [None] * group.size()
    all_gather_object(every, own, group)
    first, rank = every[0], group.rank()
    for other, found in enumerate(every):
        if len(found) != len(first):
            raise RuntimeError(
                f"DDP expects same model across all ranks, but Rank {rank} has {len(own)} params, while rank {other} has "
                f"inconsistent {len(found)} params."
            )
    for i, (name, shape, dtype) in enumerate(own):
        if (shape, dtype) != first[i][1:]:
            raise RuntimeError(
                f"[{rank}]: params[{i}] ({name}) in this process with sizes {list(shape)} and dtype {dtype} appears not to "
                f"match sizes of the same param in process 0: {list(first[i][1])}, {first[i][2]}"
            )
    if any([entry[1:] for entry in found] != [entry[1:] for entry in first] for found in every):
        raise RuntimeError(f"[{rank}]: the parameters of another process do not match those of process 0")
