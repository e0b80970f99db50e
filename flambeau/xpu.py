"""Intel's devices, of which this build has none."""

from __future__ import annotations

from flambeau import _absent_device

_absent_device.furnish(
    globals(), "XPU support. Torch not compiled with XPU enabled: flambeau runs on the CPU"
)
