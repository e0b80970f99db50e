"""What is experimental in PyTorch's package of distributed tensors and needs no such tensors: context parallelism."""

from . import experimental
