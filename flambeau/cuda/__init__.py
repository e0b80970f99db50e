"""NVIDIA's devices, of which this build has none.

What programs call to find out, or call on any machine (seeding, emptying caches), works; what needs a device raises.
"""

from __future__ import annotations

from flambeau import _absent_device
from flambeau._errors import AcceleratorError, OutOfMemoryError

_WHY = (
    "CUDA support. Torch not compiled with CUDA enabled: flambeau runs on the CPU. Use device='cpu', or ask "
    "torch.cuda.is_available()"
)

has_half = True
CudaError = AcceleratorError
CUDAGraph = _absent_device.type_that_needs_device(__name__, "CUDAGraph", _WHY)
_absent_device.furnish(globals(), _WHY)


def __getattr__(name):
    if name in ("amp", "nvtx", "random", "sparse"):
        import importlib

        return importlib.import_module("flambeau.cuda." + name)
    if name.endswith("Tensor"):
        from flambeau._tensor import legacy

        if name in legacy.cuda_types:
            return legacy.cuda_types[name]
    raise AttributeError(f"module 'flambeau.cuda' has no attribute {name!r}")
