"""The sampler that gives every process its own part of a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator

import flambeau

from .dataset import Dataset
from .sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """Every ``num_replicas``-th index, from ``rank`` on, of an order that all processes share.

    Call `set_epoch` before each epoch, or all epochs have the same order.

    Args:
        dataset: the dataset; its size must not change.
        num_replicas: how many processes there are; by default asked of `flambeau.distributed`.
        rank: which of them this is.
        shuffle: whether the order is random.
        seed: of the random order; the same in all processes.
        drop_last: leave out what can't be divided evenly, rather than repeating some indices.
    """

    def __init__(self, dataset: Dataset, num_replicas=None, rank=None, shuffle=True, seed=0, drop_last=False):
        if num_replicas is None or rank is None:
            distributed = getattr(flambeau, "distributed", None)
            if distributed is None or not distributed.is_available():
                raise RuntimeError("Requires distributed package to be available: pass num_replicas and rank")
            num_replicas = distributed.get_world_size() if num_replicas is None else num_replicas
            rank = distributed.get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        size = len(dataset)
        self.num_samples = size // num_replicas if drop_last else math.ceil(size / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            generator = flambeau.Generator()
            generator.manual_seed(self.seed + self.epoch)
            order = flambeau.randperm(len(self.dataset), generator=generator).tolist()
        else:
            order = list(range(len(self.dataset)))
        if not self.drop_last and order:
            repeats = math.ceil(self.total_size / len(order))
            order = order * repeats
        return iter(order[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the random order of the coming epoch."""
        self.epoch = epoch
