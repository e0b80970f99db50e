"""Fake tensors: the names of them. PyTorch traces programs with these; here there are none, and questions say so."""

from __future__ import annotations

from flambeau import Tensor

__all__ = ["FakeTensor", "FakeTensorMode", "is_fake"]


class FakeTensor(Tensor):
    """A tensor without data that pretends to be on a device; there are none, so that ``isinstance`` says no."""

    def __new__(cls, *args, **kwargs):
        raise RuntimeError(
            "FakeTensor: flambeau makes none; a tensor on the device 'meta' has everything but data"
        )


class FakeTensorMode:
    """Would make operators return fake tensors; see `FakeTensor`."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError(
            "FakeTensorMode: flambeau makes no fake tensors; with torch.device('meta') makes tensors without data"
        )


def is_fake(x: object) -> bool:
    """Whether `x` is a fake tensor: nothing is.

    >>> from flambeau._subclasses.fake_tensor import is_fake
    >>> is_fake(flambeau.ones(1, device="meta"))
    False
    """
    return isinstance(x, FakeTensor)
