"""While installed, ``torch`` and all its submodules are names for flambeau's own modules, and so is ``functorch``.

``import torch.nn`` then gives the very module object `flambeau.nn`. The mapping also answers
``importlib.metadata.version("torch")``, and reaches the children that `multiprocessing` spawns.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys


def _our_name(name: str) -> str | None:
    """``torch.x`` -> ``flambeau.x``; None for other names."""
    if name == "functorch":
        return "flambeau._functorch"
    if name == "torch" or name.startswith("torch."):
        return "flambeau" + name[len("torch") :]
    return None


class _AliasLoader(importlib.abc.Loader):
    """Loads ``torch.x`` by returning the module `flambeau.x`."""

    def create_module(self, spec):
        module = importlib.import_module(_our_name(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        # The module has run under its own name; the import system has just put the alias's spec on it.
        alias = module.__spec__
        if alias is not None and alias.loader is self:
            module.__spec__ = alias.loader_state

    def get_code(self, name):
        """What `python -m torch.x` runs: the code of `flambeau.x`."""
        ours = importlib.util.find_spec(_our_name(name))
        return ours.loader.get_code(ours.name)


class _SpawnLoader(importlib.abc.Loader):
    """Loads `multiprocessing.spawn`, then teaches it to pass the mapping on."""

    def __init__(self, inner):
        self._inner = inner

    def create_module(self, spec):
        return self._inner.create_module(spec)

    def exec_module(self, module):
        self._inner.exec_module(module)
        _patch_spawn(module)

    def __getattr__(self, name):
        return getattr(self._inner, name)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "multiprocessing.spawn":
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            if spec is not None and spec.loader is not None:
                spec.loader = _SpawnLoader(spec.loader)
            return spec
        ours = _our_name(name)
        if ours is None:
            return None
        if ours not in sys.modules and importlib.util.find_spec(ours) is None:
            # Only an import deserves the explanation; `importlib.util.find_spec` asks and wants None.
            if sys._getframe(2).f_code.co_name == "_find_and_load_unlocked":
                raise ModuleNotFoundError(
                    f"No module named '{name}': torch is flambeau here, and flambeau has no module '{ours}'",
                    name=name,
                )
            return None
        spec = importlib.machinery.ModuleSpec(name, _AliasLoader(), origin=ours)
        return spec

    def find_distributions(self, context=None):
        """Answer for the distribution ``torch``, which programs ask for its version."""
        if getattr(context, "name", None) != "torch":
            return iter(())
        return iter((_make_distribution(),))

    def invalidate_caches(self):
        pass


def _make_distribution():
    import importlib.metadata

    from flambeau import version

    class TorchDistribution(importlib.metadata.Distribution):
        """Metadata that says: torch, in our version of it."""

        def read_text(self, filename):
            if filename == "METADATA":
                return f"Metadata-Version: 2.1\nName: torch\nVersion: {version.__version__}\n"
            return None

        def locate_file(self, path):
            import pathlib

            return pathlib.Path(importlib.import_module("flambeau").__file__).parent.parent / path

    return TorchDistribution()


_finder = _Finder()


class _InstallWhenUnpickled:
    """Travels in the data that prepares a spawned child, ahead of its main module."""

    def __reduce__(self):
        return install_as_torch, ()


def _patch_spawn(spawn) -> None:
    original = spawn.get_preparation_data
    if hasattr(original, "flambeau_original"):
        return

    def get_preparation_data(name):
        data = original(name)
        if is_installed():
            data = {"flambeau": _InstallWhenUnpickled(), **data}
        return data

    get_preparation_data.flambeau_original = original
    spawn.get_preparation_data = get_preparation_data


def is_installed() -> bool:
    """Whether ``import torch`` means flambeau at present."""
    return _finder in sys.meta_path


def install_as_torch() -> None:
    """From now on, ``import torch`` in this process, and in the children it spawns, gives flambeau.

    Raises:
        RuntimeError: PyTorch itself has been imported already.

    >>> flambeau.install_as_torch()
    >>> import torch
    >>> torch is flambeau
    True
    >>> flambeau.uninstall_as_torch()
    """
    flambeau = importlib.import_module("flambeau")
    present = sys.modules.get("torch")
    if present is not None and present is not flambeau:
        raise RuntimeError(
            "install_as_torch: PyTorch itself has been imported already; call install_as_torch before anything imports "
            "torch, or run the program with: python -m flambeau SCRIPT"
        )
    if not is_installed():
        sys.meta_path.insert(0, _finder)
    sys.modules["torch"] = flambeau
    flambeau.__name__ = "torch"
    if "multiprocessing.spawn" in sys.modules:
        _patch_spawn(sys.modules["multiprocessing.spawn"])


def uninstall_as_torch() -> None:
    """Undo `install_as_torch`: later imports of torch find PyTorch, if it is there. Modules that have it keep it."""
    if not is_installed():
        return
    sys.meta_path.remove(_finder)
    importlib.import_module("flambeau").__name__ = "flambeau"
    for name in [name for name in sys.modules if _our_name(name) is not None]:
        if sys.modules[name] is sys.modules.get(_our_name(name)):
            del sys.modules[name]
    spawn = sys.modules.get("multiprocessing.spawn")
    if spawn is not None:
        original = getattr(spawn.get_preparation_data, "flambeau_original", None)
        if original is not None:
            spawn.get_preparation_data = original
