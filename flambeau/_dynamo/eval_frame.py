"""The type of compiled modules, of which there are none."""

from __future__ import annotations

from flambeau import nn
from flambeau.compiler import disable

__all__ = ["OptimizedModule", "disable", "is_dynamo_supported"]


class OptimizedModule(nn.Module):
    """What PyTorch's compiler makes of a module. `flambeau.compile` returns the module itself: ``isinstance`` says no."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError("OptimizedModule cannot be made: flambeau.compile returns the module as it is")


def is_dynamo_supported() -> bool:
    """Whether programs can be compiled: they cannot."""
    return False
