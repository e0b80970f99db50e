"""Tensors that stand in for others while a program is traced: see `fake_tensor`."""

from .fake_tensor import FakeTensor, FakeTensorMode
