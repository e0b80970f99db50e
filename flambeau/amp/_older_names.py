"""The classes of ``torch.cpu.amp`` and ``torch.cuda.amp``: those of `flambeau.amp` for one kind of device."""

from __future__ import annotations

import warnings

from flambeau import amp


def _warn(device_type: str, name: str) -> None:
    warnings.warn(
        f"`torch.{device_type}.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}('{device_type}', args...)` "
        "instead.",
        FutureWarning,
        stacklevel=3,
    )


def classes(device_type: str):
    """(autocast, GradScaler) for the module ``flambeau.DEVICE_TYPE.amp``."""

    class autocast(amp.autocast):
        def __init__(self, enabled: bool = True, dtype=None, cache_enabled: bool = True):
            _warn(device_type, "autocast")
            super().__init__(device_type, dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)

    class GradScaler(amp.GradScaler):
        def __init__(self, *args, **kwargs):
            _warn(device_type, "GradScaler")
            super().__init__(device_type, *args, **kwargs)

    for cls in (autocast, GradScaler):
        cls.__module__, cls.__qualname__ = f"flambeau.{device_type}.amp", cls.__name__
        cls.__doc__ = f"``amp.{cls.__name__}({device_type!r}, ...)``."
    return autocast, GradScaler
