"""Names inside pickles: files say ``torch.<name>`` for what this package calls ``flambeau.<name>``.

Pickles are written by the ordinary (C) pickler, which only writes names it can import, and the names are translated in
the bytes it wrote. Every global is written once and recalled from the pickler's memo afterwards, so a count tells
whether the bytes to be replaced also occur by chance elsewhere; only then is the pickle walked opcode by opcode.
"""

from __future__ import annotations

import importlib
import io
import pickle
import pickletools
import types

_OURS, _THEIRS = "flambeau", "torch"


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def to_file(module: str, name: str) -> str:
    """The module that a file names for one of ours."""
    if name == "_rebuild_from_type_v2":
        return "torch._tensor"
    if name in ("TypedStorage", "UntypedStorage"):
        return "torch.storage"
    if module == "flambeau.storage" and name.endswith("Storage"):
        return _THEIRS
    return _THEIRS + module[len(_OURS) :]


def _module_of(obj) -> str | None:
    module = getattr(obj, "__module__", None)
    return module if isinstance(module, str) and _is_within(module, _OURS) else None


def _global_name(obj) -> str | None:
    """The name under which a pickler writes `obj` as a global, if it does and it is one of ours."""
    if _module_of(obj) is None:
        return None
    if isinstance(obj, (type, types.FunctionType, types.BuiltinFunctionType)):
        return obj.__qualname__
    reduced = obj.__reduce_ex__(2) if type(obj).__name__ in ("dtype", "layout", "memory_format") else None
    return reduced if isinstance(reduced, str) else None


def dumps(obj, persistent_id, protocol: int, pickle_module) -> bytes:
    """Pickle `obj` with the names that PyTorch's files use."""
    if pickle_module is pickle and protocol >= 4:
        return _dumps_by_walking(obj, persistent_id, protocol)
    seen: dict[tuple[str, str], None] = {}

    class Pickler(pickle_module.Pickler):
        def persistent_id(self, obj):
            return persistent_id(obj)

        if pickle_module is pickle:

            def reducer_override(self, obj):
                name = _global_name(obj)
                if name is not None:
                    seen[_module_of(obj), name] = None
                return NotImplemented

    buffer = io.BytesIO()
    Pickler(buffer, protocol=protocol).dump(obj)
    data = buffer.getvalue()
    if pickle_module is not pickle:
        return _translate_opcodes(data) if protocol < 4 else data
    for module, name in seen:
        written = f"c{module}\n{name}\n".encode()
        if data.count(written) != 1:
            return _translate_opcodes(buffer.getvalue())
        data = data.replace(written, f"c{to_file(module, name)}\n{name}\n".encode())
    return data


def _translate_opcodes(data: bytes) -> bytes:
    parts, done = [], 0
    for opcode, argument, position in pickletools.genops(data):
        if opcode.name != "GLOBAL":
            continue
        module, _, name = argument.partition(" ")
        if _is_within(module, _OURS):
            parts += [data[done:position], f"c{to_file(module, name)}\n{name}\n".encode()]
            done = position + len(f"c{module}\n{name}\n".encode())
    return b"".join(parts) + data[done:]


def _dumps_by_walking(obj, persistent_id, protocol: int) -> bytes:
    """For protocols that write a name as two strings: the pickler in Python, which lets us choose them."""

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]
        def persistent_id(self, obj):
            return persistent_id(obj)

        def save_global(self, obj, name=None):
            module = _module_of(obj)
            if module is None:
                return super().save_global(obj, name)
            name = name or obj.__qualname__
            self.save(to_file(module, name))
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
            self.memoize(obj)

        def save_class(self, obj):
            if _module_of(obj) is None:
                return super().save_type(obj)
            self.save_global(obj)

        dispatch = {**pickle._Pickler.dispatch, type: save_class, types.FunctionType: save_global}

    buffer = io.BytesIO()
    Pickler(buffer, protocol=protocol).dump(obj)
    return buffer.getvalue()


def find(module: str, name: str):
    """Our object for a name in a file; names of other packages are imported as they are."""
    if not _is_within(module, _THEIRS):
        found = importlib.import_module(module)
    else:
        ours = _OURS + module[len(_THEIRS) :]
        if name.endswith("Storage"):
            ours = "flambeau.storage"
        elif name == "_rebuild_from_type_v2":
            ours = "flambeau._utils"
        try:
            found = importlib.import_module(ours)
        except ModuleNotFoundError as error:
            raise AttributeError(f"the file uses {module}.{name}, which flambeau does not have") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise AttributeError(f"the file uses {module}.{name}, which does not exist here") from None
    return found
