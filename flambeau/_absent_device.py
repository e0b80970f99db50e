"""What the modules of devices that are not there have in common.

What programs call to find out, or call on any machine (seeding, emptying caches), works; what needs a device raises.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import nullcontext

_RETURNS = {
    "is_available": (False, "Whether a device can be used: never."),
    "is_initialized": (False, "Whether the devices have been set up: never."),
    "device_count": (0, "Number of devices: 0."),
    "is_bf16_supported": (False, "Whether a device computes in bfloat16: there is none."),
    "is_tf32_supported": (False, "Whether a device computes in TensorFloat-32: there is none."),
    "is_current_stream_capturing": (False, "Whether work is being recorded: never."),
    "get_gencode_flags": ("", "How kernels were compiled: there are none."),
    "manual_seed": (None, "Accepted: there is no device to seed."),
    "manual_seed_all": (None, "Accepted: there is no device to seed."),
    "seed": (None, "Accepted: there is no device to seed."),
    "seed_all": (None, "Accepted: there is no device to seed."),
    "empty_cache": (None, "Accepted: no device holds memory."),
    "reset_peak_memory_stats": (None, "Accepted: no device holds memory."),
    "reset_accumulated_memory_stats": (None, "Accepted: no device holds memory."),
    "reset_max_memory_allocated": (None, "Accepted: no device holds memory."),
    "reset_max_memory_cached": (None, "Accepted: no device holds memory."),
    "memory_allocated": (0, "Bytes in use on a device: 0."),
    "max_memory_allocated": (0, "The most bytes in use on a device so far: 0."),
    "memory_reserved": (0, "Bytes held on a device: 0."),
    "max_memory_reserved": (0, "The most bytes held on a device so far: 0."),
    "memory_cached": (0, "Bytes held on a device: 0."),
    "max_memory_cached": (0, "The most bytes held on a device so far: 0."),
}
_EMPTY = {
    "get_arch_list": (list, "The device architectures that there are kernels for: none."),
    "get_rng_state_all": (list, "The random states of all devices: an empty list."),
    "memory_stats": (OrderedDict, "Figures about a device's memory: none."),
}
_NEED_DEVICE = (
    "init current_device current_stream default_stream get_device_name get_device_capability get_device_properties "
    "set_device set_stream synchronize mem_get_info get_rng_state set_rng_state initial_seed ipc_collect utilization "
    "memory_summary memory_snapshot memory_usage can_device_access_peer set_per_process_memory_fraction cudart "
    "get_sync_debug_mode set_sync_debug_mode graph_pool_handle make_graphed_callables"
).split()
_NEED_DEVICE_TYPES = ("Stream", "Event", "StreamContext", "graph")


def needs_device(module: str, name: str, why: str):
    """A function of a module that raises."""

    def function(*args, **kwargs):
        raise AssertionError(f"{module.replace('flambeau', 'torch')}.{name}: {why}")

    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    function.__doc__ = "Needs a device."
    return function


def type_that_needs_device(module: str, name: str, why: str):
    """A class of a module that cannot be made; programs ask ``isinstance`` of it."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"{module.replace('flambeau', 'torch')}.{name} requires {why}")

    return type(name, (), {"__init__": __init__, "__doc__": "Needs a device.", "__module__": module})


def _returns(module: str, name: str, make, doc: str):
    def function(*args, **kwargs):
        return make()

    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    function.__doc__ = doc
    return function


def _device_blocks(module: str, why: str):
    class device:
        """Context manager that makes a device the current one: works for None and -1, which change nothing."""

        def __init__(self, device):
            self.index = getattr(device, "index", device)

        def __enter__(self):
            if isinstance(self.index, int) and self.index >= 0:
                raise RuntimeError(why)

        def __exit__(self, *exc):
            return False

    class device_of(device):
        """Context manager that makes a tensor's device the current one: no tensor is on such a device."""

        def __init__(self, obj):
            super().__init__(-1)

    device.__module__ = device_of.__module__ = module
    return device, device_of


def furnish(namespace: dict, why: str) -> None:
    """Fill a module's namespace; what it has defined itself stays.

    Args:
        namespace: the module's ``globals()``.
        why: what to say where a device is needed.
    """
    module = namespace["__name__"]

    def stream(stream):
        """Context manager that does nothing for None."""
        if stream is not None:
            raise AssertionError(why)
        return nullcontext()

    def set_rng_state_all(new_states) -> None:
        """Set the random states of all devices, of which there are none."""
        if len(list(new_states)):
            raise AssertionError(why)

    device, device_of = _device_blocks(module, why)
    found = {
        "stream": stream,
        "set_rng_state_all": set_rng_state_all,
        "device": device,
        "device_of": device_of,
        "default_generators": (),
        **{
            name: _returns(module, name, lambda value=value: value, doc)
            for name, (value, doc) in _RETURNS.items()
        },
        **{name: _returns(module, name, kind, doc) for name, (kind, doc) in _EMPTY.items()},
        **{name: needs_device(module, name, why) for name in _NEED_DEVICE},
        **{name: type_that_needs_device(module, name, why) for name in _NEED_DEVICE_TYPES},
    }
    for name, value in found.items():
        namespace.setdefault(name, value)
