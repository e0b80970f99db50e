"""Checkpoints of several processes in safetensors files: the names."""

from __future__ import annotations

from .._absent import absent_class

__all__ = ["HuggingFaceStorageReader", "HuggingFaceStorageWriter"]

_WHY = "flambeau has no checkpoints that processes write together; save a state dictionary from one of them"

HuggingFaceStorageReader = absent_class(__name__, "HuggingFaceStorageReader", _WHY)
HuggingFaceStorageWriter = absent_class(__name__, "HuggingFaceStorageWriter", _WHY)
