"""Discrete Fourier transforms under PyTorch's names in `torch.fft`; their home is `flambeau._ops.fourier`."""

from ._ops import fourier

__all__ = [name.removeprefix("fft_") for name in vars(fourier) if name.startswith("fft_")]
globals().update({name: getattr(fourier, "fft_" + name) for name in __all__})
