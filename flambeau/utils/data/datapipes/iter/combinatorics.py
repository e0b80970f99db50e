"""Steps that change the order of samples, by the longer names that PyTorch has for them here."""

from .simple import Sampler as SamplerIterDataPipe
from .simple import Shuffler as ShufflerIterDataPipe

__all__ = ["SamplerIterDataPipe", "ShufflerIterDataPipe"]
