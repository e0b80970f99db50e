"""Where PyTorch keeps quantization."""

from . import quantization
