"""The operators once more, under the name by which programs reach for those that `nn.functional` hides."""

import flambeau


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(flambeau, name)
