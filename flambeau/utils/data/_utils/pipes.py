"""What a loader does for data pipes: seeds and switches for their shuffling, shares for its workers."""

from __future__ import annotations

import functools
import sys

import flambeau


def is_pipe(dataset, kinds=("IterDataPipe",)) -> bool:
    """Whether it is a data pipe; their module is not imported for the answer."""
    module = sys.modules.get("flambeau.utils.data.datapipes.datapipe")
    return module is not None and isinstance(dataset, tuple(getattr(module, kind) for kind in kinds))


def with_shuffling(dataset, shuffle):
    """The pipe with its shuffling on, off, or (None) as it is."""
    from ..graph_settings import apply_shuffle_settings

    return apply_shuffle_settings(dataset, shuffle)


def _place() -> tuple[int, int]:
    """How many processes of a group share the data, and which of them this is."""
    group = sys.modules.get("flambeau.distributed")
    if group is None or not group.is_initialized():
        return 1, 0
    return group.get_world_size(), group.get_rank()


def draw_seed(generator) -> int:
    """The seed that all processes of one pass over a pipe share; in a group, the first process's."""
    drawn = flambeau.empty((), dtype=flambeau.int64).random_(generator=generator)
    if _place()[0] > 1:
        flambeau.distributed.broadcast(drawn, 0)
    return int(drawn.item())


def share(dataset) -> None:
    """Give the pipe this process's share, where no workers take parts of it."""
    from ..graph_settings import apply_sharding

    apply_sharding(dataset, *_place())


def seed(dataset, shared_seed: int) -> None:
    from ..graph_settings import apply_random_seed

    apply_random_seed(dataset, flambeau.Generator().manual_seed(shared_seed))


def sharing(init_fn):
    """A worker's init function that also gives its pipe the worker's share of this process's."""
    return functools.partial(_share, init_fn, *_place())


def _share(init_fn, processes: int, rank: int, worker_id: int) -> None:
    from ..graph_settings import apply_sharding
    from .worker import get_worker_info

    info = get_worker_info()
    apply_sharding(info.dataset, info.num_workers * processes, worker_id * processes + rank)
    if init_fn is not None:
        init_fn(worker_id)
