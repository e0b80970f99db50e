"""The type of compiled modules, of which there are none."""

from __future__ import annotations

from flambeau import nn
from flambeau.compiler import disable

__all__ = ["OptimizedModule", "disable"]


class OptimizedModule(nn.Module):
    """What PyTorch's compiler makes of a module. `flambeau.compile` returns the module itself: ``isinstance`` says no."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError("OptimizedModule cannot be made: flambeau.compile returns the module as it is")
