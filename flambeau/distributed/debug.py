"""How talkative a program wants the package to be."""

from __future__ import annotations

import enum
import os

__all__ = ["DebugLevel", "get_debug_level", "set_debug_level", "set_debug_level_from_env"]


class DebugLevel(enum.IntEnum):
    """Off, some information, or everything."""

    OFF = 0
    INFO = 1
    DETAIL = 2


_level = None


def get_debug_level() -> DebugLevel:
    """The level; at first that of the environment's ``TORCH_DISTRIBUTED_DEBUG``."""
    if _level is None:
        set_debug_level_from_env()
    return _level


def set_debug_level(level: DebugLevel) -> None:
    """Choose the level."""
    global _level
    _level = DebugLevel(level)


def set_debug_level_from_env() -> None:
    """Take the level from ``TORCH_DISTRIBUTED_DEBUG``: OFF, INFO or DETAIL."""
    name = os.environ.get("TORCH_DISTRIBUTED_DEBUG", "OFF").upper() or "OFF"
    if name not in DebugLevel.__members__:
        raise RuntimeError(
            f"The value of TORCH_DISTRIBUTED_DEBUG must either be `OFF`, `INFO`, or `DETAIL`: {name}"
        )
    set_debug_level(DebugLevel[name])
