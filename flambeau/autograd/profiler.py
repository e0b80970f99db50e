"""The profiler's older home: see `flambeau.profiler`."""

from flambeau.profiler import profile, record_function

__all__ = ["profile", "record_function"]
