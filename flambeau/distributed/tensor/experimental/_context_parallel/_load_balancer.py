"""Which parts of a sequence each process gets, so that all have as much to do.

Under a causal mask late positions look at more keys than early ones. A sequence cut into ``2 * cp_size`` parts is dealt out
in pairs: process r gets part r and part ``2 * cp_size - 1 - r``, an early one and the late one that makes up for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import flambeau

__all__ = ["_HeadTailLoadBalancer", "_LoadBalancer", "part_of", "restore"]


class _LoadBalancer(ABC):
    """An order of positions, of which each process gets its neighbouring ones."""

    @abstractmethod
    def _generate_indices(self, restore: bool = False):
        """Positions in the new order, or, with `restore`, the way back: shape (1, length)."""


class _HeadTailLoadBalancer(_LoadBalancer):
    """Parts from both ends in pairs.

    >>> from flambeau.distributed.tensor.experimental._context_parallel import _HeadTailLoadBalancer
    >>> _HeadTailLoadBalancer(8, 2, "cpu")._generate_indices()
    tensor([[0, 1, 6, 7, 2, 3, 4, 5]])
    """

    def __init__(self, seq_length: int, world_size: int, device):
        check_length(seq_length, world_size, True)
        self.seq_length, self.world_size, self.device = seq_length, world_size, device

    def _generate_indices(self, restore: bool = False):
        positions = flambeau.arange(self.seq_length, device=self.device)
        parts = positions.view(2 * self.world_size, -1)
        order = [part for rank in range(self.world_size) for part in (rank, 2 * self.world_size - 1 - rank)]
        indices = parts[order].view(-1)
        return (indices.argsort() if restore else indices).unsqueeze(0)


def check_length(length: int, size: int, balanced: bool) -> None:
    """Refuse a sequence that cannot be cut into equal parts."""
    parts = 2 * size if balanced else size
    if length % parts:
        how = f"2 * {size}" if balanced else str(size)
        raise ValueError(
            f"context parallelism cuts a sequence into {how} equal parts, and {length} positions cannot be: pad the "
            f"sequence to a multiple of {parts}"
        )


def part_of(tensor, dim: int, rank: int, size: int, balanced: bool):
    """The part of a tensor along its sequence dimension that belongs to a process."""
    length = tensor.size(dim)
    check_length(length, size, balanced)
    if not balanced:
        return tensor.narrow(dim, rank * (length // size), length // size)
    step = length // (2 * size)
    head, tail = tensor.narrow(dim, rank * step, step), tensor.narrow(dim, (2 * size - 1 - rank) * step, step)
    return flambeau.cat([head, tail], dim)


def restore(parts: list, dim: int, balanced: bool):
    """The whole tensor, from the parts of all processes."""
    if not balanced:
        return flambeau.cat(parts, dim)
    pairs = [part.chunk(2, dim) for part in parts]
    return flambeau.cat([head for head, _ in pairs] + [tail for _, tail in reversed(pairs)], dim)
