"""How a tensor lies on a mesh of processes: `Shard`, `Replicate`, `Partial`. Descriptions only: see `DTensor`."""

from __future__ import annotations

import dataclasses

__all__ = ["Partial", "Placement", "Replicate", "Shard"]


class Placement:
    """Base class of the ways in which a tensor can lie along one dimension of a mesh."""

    def is_shard(self, dim: int | None = None) -> bool:
        """Whether the tensor is cut (along `dim`, if it is given)."""
        return isinstance(self, Shard) and dim in (None, self.dim)

    def is_replicate(self) -> bool:
        """Whether every process has all of it."""
        return isinstance(self, Replicate)

    def is_partial(self) -> bool:
        """Whether every process has a summand."""
        return isinstance(self, Partial)


@dataclasses.dataclass(frozen=True)
class Shard(Placement):
    """Cut along a dimension, one piece per process."""

    dim: int


@dataclasses.dataclass(frozen=True)
class _StridedShard(Shard):
    split_factor: int = 1


@dataclasses.dataclass(frozen=True)
class Replicate(Placement):
    """All of it on every process."""


@dataclasses.dataclass(frozen=True)
class Partial(Placement):
    """One operand per process, of a reduction that is still to be done."""

    reduce_op: str = "sum"
