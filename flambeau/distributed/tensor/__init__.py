"""Tensors spread over processes: their names. flambeau has no such tensors, and none can be made.

What is experimental in PyTorch's package and needs no such tensors is there: context parallelism.
"""

from __future__ import annotations

import flambeau

from . import experimental
from .placement_types import Partial, Placement, Replicate, Shard

__all__ = ["DTensor", "Partial", "Placement", "Replicate", "Shard", "distribute_module", "distribute_tensor"]

_WHY = "flambeau has no tensors spread over processes; send parts of tensors with the functions of torch.distributed"


class DTensor(flambeau.Tensor):
    """A tensor spread over a mesh of processes; there are none, so that ``isinstance`` says no."""

    def __new__(cls, *args, **kwargs):
        raise NotImplementedError(f"DTensor: {_WHY}")

    @staticmethod
    def from_local(*args, **kwargs):
        """Raises: there are no such tensors."""
        raise NotImplementedError(f"DTensor.from_local: {_WHY}")


def distribute_tensor(*args, **kwargs):
    """Raises: there are no such tensors."""
    raise NotImplementedError(f"distribute_tensor: {_WHY}")


def distribute_module(*args, **kwargs):
    """Raises: there are no such tensors."""
    raise NotImplementedError(f"distribute_module: {_WHY}")
