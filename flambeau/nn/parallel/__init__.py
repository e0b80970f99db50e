"""Copies of a module: on several devices, of which there is one here, and in several processes."""

import importlib

from .data_parallel import DataParallel, data_parallel

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]


def __getattr__(name):
    if name in (
        "DistributedDataParallel",
        "distributed",
    ):  # which come with everything that connects processes
        distributed = importlib.import_module(f"{__name__}.distributed")
        return distributed if name == "distributed" else distributed.DistributedDataParallel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
