"""What the library was built with, and how many threads it uses, as text for reports."""

from __future__ import annotations

import os

import flambeau

__all__ = ["parallel_info", "show"]


def show() -> str:
    """What flambeau was built with.

    >>> print(flambeau.__config__.show())  # doctest: +ELLIPSIS
    flambeau ... built with:
      - CPU capability usage: ...
    """
    from flambeau import version

    lines = [
        f"flambeau {version.flambeau} (PyTorch's API of {version.api}) built with:",
        f"  - CPU capability usage: {flambeau.backends.cpu.get_cpu_capability()}",
        "  - Build settings: BLAS_INFO=open, LAPACK_INFO=open, USE_CUDA=0, USE_MKL=OFF, USE_MKLDNN=OFF",
    ]
    return "\n".join(lines) + "\n"


def parallel_info() -> str:
    """How many threads operators use, and of how many processors.

    >>> flambeau.__config__.parallel_info().splitlines()[0]
    'ATen/Parallel:'
    """
    lines = [
        "ATen/Parallel:",
        f"\tat::get_num_threads() : {flambeau.get_num_threads()}",
        f"\tat::get_num_interop_threads() : {flambeau.get_num_interop_threads()}",
        f"std::thread::hardware_concurrency() : {os.cpu_count()}",
    ]
    return "\n".join(lines) + "\n"
