"""Switches of the libraries that PyTorch can be built with, and what holds for them here.

Programs read and set these; what has no effect on a CPU is kept and given back, nothing more, and what asks whether
something is there gets the truth.
"""

import sys
import types
from contextlib import contextmanager


class Switches(types.ModuleType):
    """A module whose settings can be assigned, and in which a misspelled one is an error."""

    def __init__(self, name: str, doc: str, settings: dict, functions: dict | None = None):
        super().__init__(f"{__name__}.{name}", doc)
        self.__dict__["_settings"] = dict(settings)
        self.__dict__.update(functions or {})
        sys.modules[self.__name__] = self

    def __getattr__(self, name):
        try:
            return self.__dict__["_settings"][name]
        except KeyError:
            raise AttributeError(f"Unknown attribute {name} of {self.__name__}") from None

    def __setattr__(self, name, value):
        if name in self._settings:
            self._settings[name] = value
        elif name.startswith("__") or isinstance(value, types.ModuleType):
            super().__setattr__(name, value)
        else:
            raise AttributeError(f"Unknown attribute {name}: {self.__name__} has {', '.join(self._settings)}")

    @contextmanager
    def flags(self, **settings):
        """Context manager: other settings for the length of a ``with`` block."""
        saved = dict(self._settings)
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield
        finally:
            self._settings.update(saved)


class _Group:
    """Settings below a module, such as ``backends.cuda.matmul``."""

    def __init__(self, **settings):
        self.__dict__.update(settings)

    def __setattr__(self, name, value):
        if name not in self.__dict__:
            raise AttributeError(f"Unknown attribute {name}: there are {', '.join(self.__dict__)}")
        self.__dict__[name] = value


def _absent() -> bool:
    """Whether the library is there: it isn't."""
    return False


def _none() -> None:
    """The library's version: it isn't there."""
    return None


def _cpu_capability() -> str:
    """The instruction set that the kernels use, by PyTorch's names."""
    from flambeau import _C

    return _C._get_cpu_capability()


class _Verbose:
    """Context manager that turns the library's messages about its calls on, where there is such a library.

    Raises:
        RuntimeError: on entering, for any level but `VERBOSE_OFF`: the library is not there.
    """

    def __init__(self, enable: int):
        self.enable = enable

    def __enter__(self):
        if self.enable != 0:
            raise RuntimeError(
                f"{type(self).__module__}.{type(self).__name__}: flambeau uses no such library, whose calls could be told; "
                "torch.profiler.profile tells of the operators"
            )
        return self

    def __exit__(self, *exc):
        return False


_verbosity = {
    "verbose": type("verbose", (_Verbose,), {"__doc__": _Verbose.__doc__}),
    "VERBOSE_OFF": 0,
    "VERBOSE_ON": 1,
}
_precision = {"fp32_precision": "none"}
cudnn = Switches(
    "cudnn",
    "NVIDIA's library for networks: not there; the settings are accepted.",
    {
        "enabled": True,
        "benchmark": False,
        "benchmark_limit": 10,
        "deterministic": False,
        "allow_tf32": True,
        "rnn": _Group(**_precision),
        "conv": _Group(**_precision),
        **_precision,
    },
    {"is_available": _absent, "version": _none, "is_acceptable": lambda tensor: False},
)
cuda = Switches(
    "cuda",
    "NVIDIA's devices: not there; the settings are accepted.",
    {
        "matmul": _Group(
            allow_tf32=False,
            allow_fp16_reduced_precision_reduction=True,
            allow_bf16_reduced_precision_reduction=True,
            allow_fp16_accumulation=False,
            **_precision,
        ),
        "cufft_plan_cache": _Group(size=0, max_size=0),
    },
    {
        "is_built": _absent,
        "flash_sdp_enabled": lambda: True,
        "mem_efficient_sdp_enabled": lambda: True,
        "math_sdp_enabled": lambda: True,
        "cudnn_sdp_enabled": lambda: True,
        "enable_flash_sdp": lambda enabled: None,
        "enable_mem_efficient_sdp": lambda enabled: None,
        "enable_math_sdp": lambda enabled: None,
        "enable_cudnn_sdp": lambda enabled: None,
    },
)
mkl = Switches(
    "mkl", "Intel's MKL: not there; products come from OpenBLAS.", {}, {"is_available": _absent, **_verbosity}
)
mkldnn = Switches(
    "mkldnn",
    "oneDNN: not there; convolutions are our own.",
    {"enabled": True, "deterministic": False, "allow_tf32": False, **_precision},
    {"is_available": _absent, **_verbosity, "VERBOSE_ON_CREATION": 2},
)
openmp = Switches("openmp", "OpenMP: not there; the thread pool is our own.", {}, {"is_available": _absent})
mps = Switches("mps", "Apple's devices: not there.", {}, {"is_available": _absent, "is_built": _absent})
cusparselt = Switches("cusparselt", "cuSPARSELt: not there.", {}, {"is_available": _absent, "version": _none})
nnpack = Switches("nnpack", "NNPACK: not there.", {"enabled": True}, {"is_available": _absent})
quantized = Switches(
    "quantized", "Quantized engines: none.", {"engine": "none", "supported_engines": ["none"]}
)
cpu = Switches("cpu", "The processor.", {}, {"get_cpu_capability": _cpu_capability})
opt_einsum = Switches(
    "opt_einsum",
    "The package that orders products in einsum: not used.",
    {"enabled": False, "strategy": None},
    {"is_available": _absent},
)
