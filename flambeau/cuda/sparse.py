"""Types of sparse tensors on NVIDIA's devices: they exist for ``isinstance``, and make nothing."""

from __future__ import annotations

from flambeau._tensor.legacy import sparse_cuda_types

__all__: list[str] = []

globals().update(sparse_cuda_types)
