"""Remote procedure calls between processes: not written. `is_available` says so; the other names are absent."""

from __future__ import annotations

__all__ = ["is_available"]


def is_available() -> bool:
    """Whether processes can call each other's functions: no.

    >>> flambeau.distributed.rpc.is_available()
    False
    """
    return False


def __getattr__(name):
    raise AttributeError(
        f"module 'torch.distributed.rpc' has no attribute '{name}' in flambeau: there are no remote procedure calls; "
        "processes talk by the functions of torch.distributed"
    )
