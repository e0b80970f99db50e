"""`flambeau.amp` by its older names."""

from __future__ import annotations

from flambeau import amp

__all__ = ["GradScaler", "autocast"]


class autocast(amp.autocast):
    """``amp.autocast("cuda", ...)``: disabled, as there is no device."""

    def __init__(self, enabled: bool = True, dtype=None, cache_enabled: bool = True):
        super().__init__("cuda", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """``amp.GradScaler("cuda", ...)``: disabled, as there is no device."""

    def __init__(self, *args, **kwargs):
        super().__init__("cuda", *args, **kwargs)
