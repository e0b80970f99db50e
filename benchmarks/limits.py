"""The machine's limits, measured with PyTorch: multiply-adds per second and bytes per second.

They stand beside the ratios, so that a kernel's distance to what the machine can do shows.
"""

import os
import time
from pathlib import Path


def _fastest(function, rounds: int = 12) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def openblas_flops(size: int = 1536) -> float | None:
    """FLOP/s of OpenBLAS's own matrix product, with the widest kernels this processor has."""
    try:
        import ctypes

        import numpy
        import scipy_openblas32
    except ImportError:
        return None
    if "avx512f" in Path("/proc/cpuinfo").read_text():
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")  # by itself it takes its AVX2 kernels on AMD
    path = next(p for p in map(str, _shared_objects(scipy_openblas32)) if "openblas" in p)
    blas = ctypes.CDLL(path)
    a, b, c = (numpy.random.rand(size, size).astype(numpy.float32) for _ in range(3))
    pointers = [matrix.ctypes.data_as(ctypes.c_void_p) for matrix in (a, b, c)]
    one, zero, n = ctypes.c_float(1), ctypes.c_float(0), ctypes.c_int(size)

    def product() -> None:
        blas.scipy_cblas_sgemm(
            101, 111, 111, n, n, n, one, pointers[0], n, pointers[1], n, zero, pointers[2], n
        )

    return 2.0 * size**3 / _fastest(product)


def _shared_objects(package) -> list[Path]:
    return sorted(Path(package.get_lib_dir()).glob("*.so*"))


def limits(threads: int) -> tuple[float, float]:
    """(FLOP/s, bytes/s) for float32 on so many threads."""
    import torch

    torch.set_num_threads(threads)
    a, b, out = (torch.rand(1536, 1536) for _ in range(3))
    flops = max(2.0 * 1536**3 / _fastest(lambda: torch.mm(a, b, out=out)), openblas_flops() or 0.0)
    x, y, total = (torch.rand(16_000_000) for _ in range(3))
    stream = 3 * 4 * 16e6 / _fastest(lambda: torch.add(x, y, out=total))
    return flops, stream
