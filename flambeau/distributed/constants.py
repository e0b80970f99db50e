"""Defaults that several modules share."""

from datetime import timedelta

__all__ = ["default_pg_timeout"]

#: How long a collective operation may wait for the other processes.
default_pg_timeout = timedelta(minutes=30)

#: How long a store waits for a key.
default_store_timeout = timedelta(seconds=300)


def seconds_of(timeout) -> float:
    """A `timedelta`, or a number of seconds, as seconds."""
    if isinstance(timeout, timedelta):
        return timeout.total_seconds()
    if isinstance(timeout, (int, float)) and not isinstance(timeout, bool):
        return float(timeout)
    raise TypeError(f"expected a timeout of type datetime.timedelta, got {type(timeout).__name__}")
