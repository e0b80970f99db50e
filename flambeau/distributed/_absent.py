"""Names of what flambeau does not distribute: classes that cannot be made and functions that say why."""

from __future__ import annotations


def absent_class(module: str, name: str, why: str, base: type = object) -> type:
    """A class for ``isinstance`` and annotations; making an object raises."""

    def __init__(self, *args, **kwargs):
        raise NotImplementedError(f"{name}: {why}")

    return type(name, (base,), {"__init__": __init__, "__doc__": f"Not there: {why}.", "__module__": module})


def absent_function(module: str, name: str, why: str):
    """A function that raises."""

    def function(*args, **kwargs):
        raise NotImplementedError(f"{name}: {why}")

    function.__name__ = function.__qualname__ = name
    function.__module__, function.__doc__ = module, f"Raises: {why}."
    return function
