"""What PyTorch does not have: layers of our own, and bridges from tensors to other libraries. They use nothing but what a
program for PyTorch could use."""

from .scipy_optimize import scipy_minimize

__all__ = ["scipy_minimize"]
