"""Meta's accelerators, of which this build has none."""

from __future__ import annotations

from flambeau import _absent_device

_absent_device.furnish(
    globals(), "MTIA support. Torch not compiled with MTIA enabled: flambeau runs on the CPU"
)
