"""Where OpenBLAS lies; asked by the native side when the first product needs it."""

import importlib.util
import os


def library_path():
    """The path of the shared library in the package scipy-openblas32, or None if it is not installed.

    The package itself is not imported: that would load the library with its own settings.
    """
    spec = importlib.util.find_spec("scipy_openblas32")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = os.path.join(next(iter(spec.submodule_search_locations)), "lib")
    for name in sorted(os.listdir(folder)):
        if name.startswith("libscipy_openblas") and ".so" in name:
            return os.path.join(folder, name)
    return None
