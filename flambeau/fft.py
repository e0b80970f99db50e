"""Discrete Fourier transforms under PyTorch's names in `torch.fft`; their home is `flambeau._ops.fourier`."""

from ._ops import fourier
from ._ops.registry import overridable_functions

__all__ = [name.removeprefix("fft_") for name in vars(fourier) if name.startswith("fft_")]
globals().update({name: getattr(fourier, "fft_" + name) for name in __all__})
overridable_functions(globals())
