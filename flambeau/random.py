"""The state of the default random generator."""

from __future__ import annotations

from contextlib import contextmanager

from flambeau._C import default_generator

__all__ = [
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]


def manual_seed(seed):
    """Seed the default generator: what is drawn afterwards is the same in every run.

    Args:
        seed: an integer in [-2**63, 2**64); negative numbers count from 2**64 down.

    Returns:
        The default generator.

    >>> _ = flambeau.manual_seed(0)
    >>> flambeau.randn(2)
    tensor([ 1.5410, -0.2934])
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator with a number that nobody can foresee, and return that number."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator was last given."""
    return default_generator.initial_seed()


def get_rng_state():
    """The default generator's state, as a tensor of bytes."""
    return default_generator.get_state()


def set_rng_state(new_state) -> None:
    """Put the default generator into a state that `get_rng_state` returned."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices=None, enabled=True, _caller="fork_rng", _devices_kw="devices", device_type="cuda"):
    """Context manager: what is drawn inside leaves the default generator as it was.

    Args:
        devices: accepted; there are no devices with generators of their own.
        enabled: False makes the whole do nothing.
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
