"""NVIDIA's devices, of which this build has none.

What programs call to find out, or call on any machine (seeding, emptying caches), works; what needs a device raises.
"""

from __future__ import annotations

from contextlib import nullcontext

_WHY = "Torch not compiled with CUDA enabled: flambeau runs on the CPU. Use device='cpu', or ask torch.cuda.is_available()"


def is_available() -> bool:
    """Whether a device can be used: never."""
    return False


def is_initialized() -> bool:
    """Whether the devices have been set up: never."""
    return False


def device_count() -> int:
    """Number of devices: 0."""
    return 0


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a device computes in bfloat16: there is none."""
    return False


def get_arch_list() -> list:
    """The device architectures that the build has kernels for: none."""
    return []


def manual_seed(seed: int) -> None:
    """Accepted: there is no device to seed."""


def manual_seed_all(seed: int) -> None:
    """Accepted: there is no device to seed."""


def seed() -> None:
    """Accepted: there is no device to seed."""


def seed_all() -> None:
    """Accepted: there is no device to seed."""


def empty_cache() -> None:
    """Accepted: no device holds memory."""


def reset_peak_memory_stats(device=None) -> None:
    """Accepted: no device holds memory."""


def memory_allocated(device=None) -> int:
    """Bytes in use on a device: 0."""
    return 0


def max_memory_allocated(device=None) -> int:
    """The most bytes in use on a device so far: 0."""
    return 0


def memory_reserved(device=None) -> int:
    """Bytes held on a device: 0."""
    return 0


def max_memory_reserved(device=None) -> int:
    """The most bytes held on a device so far: 0."""
    return 0


def memory_stats(device=None) -> dict:
    """Figures about a device's memory: none."""
    return {}


def get_rng_state_all() -> list:
    """The random states of all devices: an empty list."""
    return []


def set_rng_state_all(new_states) -> None:
    """Set the random states of all devices, of which there are none."""
    if len(list(new_states)):
        raise AssertionError(_WHY)


def stream(stream):
    """Context manager that does nothing for None."""
    if stream is not None:
        raise AssertionError(_WHY)
    return nullcontext()


def _needs_device(name: str, base: type | None = None):
    if base is not None:

        def __init__(self, *args, **kwargs):
            raise RuntimeError(f"torch.cuda.{name} requires CUDA support. {_WHY}")

        return type(
            name, (base,), {"__init__": __init__, "__doc__": "Needs a device.", "__module__": __name__}
        )

    def function(*args, **kwargs):
        raise AssertionError(f"torch.cuda.{name}: {_WHY}")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Needs a device."
    return function


for _name in (
    "init current_device current_stream default_stream get_device_name get_device_capability get_device_properties "
    "set_device synchronize mem_get_info get_rng_state set_rng_state initial_seed ipc_collect utilization memory_summary"
).split():
    globals()[_name] = _needs_device(_name)
for _name in ("Stream", "Event", "CUDAGraph", "device", "device_of"):
    globals()[_name] = _needs_device(_name, object)
del _name


def __getattr__(name):
    if name == "amp":
        import importlib

        return importlib.import_module("flambeau.cuda.amp")
    if name.endswith("Tensor"):
        from flambeau._tensor import legacy

        if name in legacy.cuda_types:
            return legacy.cuda_types[name]
    raise AttributeError(f"module 'flambeau.cuda' has no attribute {name!r}")
