"""Apple's devices, of which this build has none."""

from __future__ import annotations

from flambeau import _absent_device

_absent_device.furnish(globals(), "the MPS backend. flambeau runs on the CPU")
for _name in ("current_allocated_memory", "driver_allocated_memory", "recommended_max_memory"):
    globals()[_name] = _absent_device.needs_device(
        __name__, _name, "the MPS backend. flambeau runs on the CPU"
    )
del _name
