"""The machine's accelerator, whatever its kind: there is none."""

from __future__ import annotations

__all__ = ["current_accelerator", "device_count", "is_available"]


def is_available() -> bool:
    """Whether there is an accelerator that can be used: no."""
    return False


def current_accelerator(check_available: bool = False):
    """The accelerator as a device: None."""
    return None


def device_count() -> int:
    """Number of accelerators: 0."""
    return 0


def _needs_device(name: str):
    def function(*args, **kwargs):
        raise RuntimeError(
            f"Cannot access accelerator device when none is available (torch.accelerator.{name})."
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Needs an accelerator."
    return function


for _name in (
    "current_device_index current_stream device_index empty_cache get_device_capability get_memory_info "
    "max_memory_allocated max_memory_reserved memory_allocated memory_reserved memory_stats "
    "reset_accumulated_memory_stats reset_peak_memory_stats set_device_index set_stream synchronize"
).split():
    globals()[_name] = _needs_device(_name)
    __all__.append(_name)
del _name
