"""What a report of a problem should say about where it happened: ``python -m flambeau.utils.collect_env``.

Nothing is run and nothing is sent: the answers come from the library, Python and Linux's files.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["SystemEnv", "get_env_info", "get_pretty_env_info", "main", "pretty_str"]

_ABSENT = "N/A"
#: Packages that matter when tensors are computed or exchanged.
_PACKAGES = (
    "accelerate flambeau numpy safetensors scipy scipy-openblas32 tensorboard timm torch torchaudio torchvision transformers"
).split()


class SystemEnv(NamedTuple):
    """What is known. The names are PyTorch's, and some of our own at the end; what is about GPUs is ``"N/A"``."""

    torch_version: str
    is_debug_build: str
    cuda_compiled_version: str
    gcc_version: str
    clang_version: str
    cmake_version: str
    os: str
    libc_version: str
    python_version: str
    python_platform: str
    is_cuda_available: str
    cuda_runtime_version: str
    cuda_module_loading: str
    nvidia_driver_version: str
    nvidia_gpu_models: str
    cudnn_version: str
    is_xpu_available: str
    pip_version: str
    pip_packages: str
    conda_packages: str
    hip_compiled_version: str
    hip_runtime_version: str
    miopen_runtime_version: str
    caching_allocator_config: str
    is_xnnpack_available: str
    cpu_info: str
    flambeau_version: str
    cpu_capability: str
    threads: str
    openblas: str
    settings: str


def _os() -> str:
    lines = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            text = Path(path).read_text()
        except OSError:
            continue
        lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        break
    name = lines.get("PRETTY_NAME", platform.system()).strip('"')
    return f"{name} ({platform.machine()})"


def _packages() -> str:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"[pip3] {name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "\n".join(found) or "none"


def _cpu_info() -> str:
    from flambeau import cpu

    found = cpu.get_capabilities()
    flags = " ".join(sorted(name for name, have in found.items() if have is True))
    return "\n".join(
        (
            f"Architecture: {found['architecture']}",
            f"Model name: {found['cpu_name'] or 'unknown'}",
            f"Sockets, cores, logical cores: {found['num_sockets']}, {found['num_physical_cores']}, "
            f"{found['num_logical_cores']} ({len(os.sched_getaffinity(0))} for this process)",
            f"L1d cache: {found['l1d_cache_size'] // 1024} KiB",
            f"L2 cache: {found['l2_cache_size'] // 1024} KiB",
            f"Extensions: {flags}",
        )
    )


def _openblas() -> str:
    from flambeau._ops._openblas import library_path

    path = library_path()
    if path is None:
        return "not found: install scipy-openblas32"
    try:
        version = importlib.metadata.version("scipy-openblas32")
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    return f"scipy-openblas32 {version} ({path})"


def _settings() -> str:
    names = sorted(name for name in os.environ if name.startswith(("FLAMBEAU_", "OMP_", "OPENBLAS_", "MKL_")))
    return " ".join(f"{name}={os.environ[name]}" for name in names) or "none"


def get_env_info() -> SystemEnv:
    """What is known about this machine, Python and the library."""
    import flambeau
    from flambeau import version

    libc = platform.libc_ver()
    return SystemEnv(
        torch_version=version.__version__,
        is_debug_build=str(version.debug),
        cuda_compiled_version="None",
        gcc_version=_ABSENT,
        clang_version=_ABSENT,
        cmake_version=_ABSENT,
        os=_os(),
        libc_version="-".join(filter(None, libc)) or _ABSENT,
        python_version=f"{sys.version} ({sys.maxsize.bit_length() + 1}-bit runtime)".replace("\n", ""),
        python_platform=platform.platform(),
        is_cuda_available=str(flambeau.cuda.is_available()),
        cuda_runtime_version=_ABSENT,
        cuda_module_loading=_ABSENT,
        nvidia_driver_version=_ABSENT,
        nvidia_gpu_models=_ABSENT,
        cudnn_version=_ABSENT,
        is_xpu_available=str(flambeau.xpu.is_available()),
        pip_version="pip3",
        pip_packages=_packages(),
        conda_packages="",
        hip_compiled_version=_ABSENT,
        hip_runtime_version=_ABSENT,
        miopen_runtime_version=_ABSENT,
        caching_allocator_config=_ABSENT,
        is_xnnpack_available="False",
        cpu_info=_cpu_info(),
        flambeau_version=version.flambeau,
        cpu_capability=flambeau.backends.cpu.get_cpu_capability(),
        threads=f"{flambeau.get_num_threads()}, between operators {flambeau.get_num_interop_threads()}",
        openblas=_openblas(),
        settings=_settings(),
    )


def pretty_str(envinfo: SystemEnv) -> str:
    """The answers as text."""
    return f"""\
PyTorch version: {envinfo.torch_version}
flambeau version: {envinfo.flambeau_version}
Is debug build: {envinfo.is_debug_build}
CUDA used to build PyTorch: {envinfo.cuda_compiled_version}

OS: {envinfo.os}
Libc version: {envinfo.libc_version}

Python version: {envinfo.python_version}
Python platform: {envinfo.python_platform}
Is CUDA available: {envinfo.is_cuda_available} (flambeau has no GPU backend; it does not look for GPUs)
Is XPU available: {envinfo.is_xpu_available}

CPU:
{envinfo.cpu_info}

Kernels' instruction set: {envinfo.cpu_capability}
Threads: {envinfo.threads}
OpenBLAS: {envinfo.openblas}
Environment variables: {envinfo.settings}

Versions of relevant libraries:
{envinfo.pip_packages}"""


def get_pretty_env_info() -> str:
    """The answers as text, for a report.

    >>> from flambeau.utils.collect_env import get_pretty_env_info
    >>> print(get_pretty_env_info())
    PyTorch version: 2.13.0+flambeau...
    ...
    Is CUDA available: False (flambeau has no GPU backend; it does not look for GPUs)
    ...
    """
    return pretty_str(get_env_info())


def main() -> None:
    """Print the answers."""
    print("Collecting environment information...")
    print(get_pretty_env_info())


if __name__ == "__main__":
    main()
