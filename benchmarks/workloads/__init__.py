"""The workloads, each written once against a module that is like `torch`.

A workload is a function of that module which prepares its data and returns the function to be timed. Its name, the
ratio to PyTorch that it has to reach (None: not behind is all that is asked) and its group stand in the decorator.
"""

from .registry import WORKLOADS, Workload, workload

from . import (  # isort: skip - their order is the table's
    calls,
    pointwise,
    products,
    images,
    layers,
    training,
    moving,
    sparse,
    transforms,
    loading,
)

__all__ = ["WORKLOADS", "Workload", "workload"]
