"""Intel's devices, of which this build has none."""

from __future__ import annotations


def is_available() -> bool:
    """Whether a device can be used: never."""
    return False


def is_initialized() -> bool:
    """Whether the devices have been set up: never."""
    return False


def device_count() -> int:
    """Number of devices: 0."""
    return 0


def manual_seed(seed: int) -> None:
    """Accepted: there is no device to seed."""


def manual_seed_all(seed: int) -> None:
    """Accepted: there is no device to seed."""


def empty_cache() -> None:
    """Accepted: no device holds memory."""
