"""Names inside pickles: files say ``torch.<name>`` for what this package calls ``flambeau.<name>``.

Pickles are written by the ordinary (C) pickler where it can be done, which only writes names it can import, and the
names are translated in the bytes it wrote. Every global is written once and recalled from the pickler's memo
afterwards, so a count tells whether the bytes to be replaced also occur by chance elsewhere; only then is the pickle
walked opcode by opcode.
"""

from __future__ import annotations

import importlib
import io
import pickle
import pickletools
import types

import flambeau
from flambeau._tensor import pickling, plain_pickles

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
    if module.startswith(_PRIVATE):
        for public in ("", ".nn.functional"):
            if getattr(importlib.import_module(_OURS + public), name, None) is not None:
                return _THEIRS + public
    return _THEIRS + module[len(_OURS) :]


# Modules that hold the code of public functions.
_PRIVATE = ("flambeau.nn._functional_", "flambeau._ops.", "flambeau._settings", "flambeau._tensor.methods")


def file_name(obj, name: str) -> tuple[str, str] | None:
    """Module and name under which files know one of our objects; None for others."""
    if type(obj) is flambeau._C.Op:
        public, name = plain_pickles.public_name(obj)
        return _THEIRS + public, name
    if obj is flambeau.Generator:
        return "torch._C", "Generator"
    module = getattr(obj, "__module__", None)
    if not isinstance(module, str):
        return None
    if _is_within(module, _OURS):
        return to_file(module, name), name
    if not _is_within(module, _THEIRS):
        return None
    # Native types call their module torch, so that they print as PyTorch's; PyTorch's own are not ours.
    try:
        ours = importlib.import_module(_OURS + module[len(_THEIRS) :])
    except ModuleNotFoundError:
        return None
    return (module, name) if getattr(ours, name, None) is obj else None


class _Unimportable(Exception):
    """The object can't be imported by the name it goes by, which the C pickler insists on."""


def dumps(obj, persistent_id, protocol: int, pickle_module) -> bytes:
    """Pickle `obj` with the names that PyTorch's files use."""
    if pickle_module is not pickle:
        return _translate_opcodes(_dumps_by_c(obj, persistent_id, protocol, pickle_module, {}))
    if protocol >= 4:
        return _dumps_by_walking(obj, persistent_id, protocol)
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    try:
        written = data = _dumps_by_c(obj, persistent_id, protocol, pickle, seen)
    except _Unimportable:
        return _dumps_by_walking(obj, persistent_id, protocol)
    for ours, theirs in seen.items():
        old, new = ("c{}\n{}\n".format(*pair).encode() for pair in (ours, theirs))
        if data.count(old) != 1:
            return _translate_opcodes(written)
        data = data.replace(old, new)
    return data


def _dumps_by_c(obj, persistent_id, protocol: int, pickle_module, seen: dict) -> bytes:
    """Pickle with our own names; `seen` gets the names to translate."""

    class Pickler(pickle_module.Pickler):
        def persistent_id(self, obj):
            return persistent_id(obj)

        if pickle_module is pickle:

            def reducer_override(self, obj):
                kind = type(obj)
                if isinstance(obj, _PLAIN_GLOBALS):
                    found = file_name(obj, obj.__qualname__)
                    if found is not None:
                        if _is_within(obj.__module__, _THEIRS):
                            raise _Unimportable
                        seen[obj.__module__, obj.__qualname__] = found
                elif kind in _native_kinds() or kind in _other_native_kinds() or _is_result(kind):
                    raise _Unimportable
                return _file_recipe(obj)

    buffer = io.BytesIO()
    Pickler(buffer, protocol=protocol).dump(obj)
    return buffer.getvalue()


_PLAIN_GLOBALS = (type, types.FunctionType, types.BuiltinFunctionType, flambeau._C.Overridable)


def _file_recipe(obj):
    """How a file describes an object, where that differs from a plain pickle."""
    if type(obj) is flambeau.layout:
        return flambeau.serialization._get_layout, (str(obj),)
    kind = type(obj)
    if kind in _native_kinds():
        return obj.__reduce_ex__(2)  # past the rules for plain pickles, which avoid the name torch
    if kind is flambeau._C.Op:
        return obj.__name__
    if kind is flambeau._C.Method:
        return getattr, (flambeau.Tensor, obj.__name__)
    if kind is flambeau.Generator:
        return flambeau.Generator, (obj.device,), (obj.initial_seed(), None, obj.get_state())
    if _is_result(kind):
        return kind, (tuple(obj), {})
    if type(obj) is flambeau.Tensor and pickling.has_attributes(obj):
        return pickling.reduce_for_file(obj)
    return NotImplemented


def _native_kinds() -> tuple:
    """Small native types whose objects files write by the name torch."""
    return flambeau.dtype, flambeau.layout, flambeau.memory_format, flambeau.device, flambeau.Size


def _other_native_kinds() -> tuple:
    return flambeau._C.Op, flambeau._C.Method, flambeau.Generator


def _is_result(kind: type) -> bool:
    return kind.__module__ == "torch.return_types"


def _translate_opcodes(data: bytes) -> bytes:
    """Translate the names in a pickle of protocol 2 or 3."""
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
    """The pickler in Python, slower, which lets us choose every name."""

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]
        def persistent_id(self, obj):
            return persistent_id(obj)

        def reducer_override(self, obj):
            return _file_recipe(obj)

        def save_global(self, obj, name=None):
            found = file_name(obj, name or obj.__qualname__)
            if found is None:
                return super().save_global(obj, name)
            module, name = found
            if self.proto >= 4:
                self.save(module)
                self.save(name)
                self.write(pickle.STACK_GLOBAL)
            else:
                self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
            self.memoize(obj)

        def save_class(self, obj):
            if file_name(obj, obj.__qualname__) is None:
                return super().save_type(obj)
            self.save_global(obj)

        dispatch = {**pickle._Pickler.dispatch, type: save_class, types.FunctionType: save_global}

    buffer = io.BytesIO()
    Pickler(buffer, protocol=protocol).dump(obj)
    return buffer.getvalue()


# What files may hold and we don't have: {name or its beginning: what it is}.
_MISSING = {
    "torch._utils._rebuild_qtensor": "a quantized tensor (PyTorch's tensor.dequantize() makes it an ordinary one)",
    "torch._utils._rebuild_nested": "a nested tensor (PyTorch's tensor.to_padded_tensor(0.0) makes it an ordinary one)",
    "torch._utils._rebuild_device_tensor": "a tensor of a device that only PyTorch has",
    "torch.quint": "a quantized dtype",
    "torch.qint": "a quantized dtype",
    "torch.per_": "a quantization scheme",
    "torch.jit.": "a TorchScript object",
}


def why_unsupported(path: str) -> str | None:
    """Why a file that names `path` cannot be loaded, if it is something that PyTorch has and we don't."""
    for start, what in _MISSING.items():
        if path.startswith(start) and not _exists(path):
            return f"load: the file holds {what}, which flambeau does not have ({path})"
    return None


def _exists(path: str) -> bool:
    module, _, name = path.rpartition(".")
    try:
        return hasattr(importlib.import_module(_OURS + module[len(_THEIRS) :]), name)
    except ModuleNotFoundError:
        return False


def _home(module: str, name: str):
    """The module, or other object, that has what a file calls by `module` and `name`, and its name there."""
    if name.endswith("Storage"):
        return flambeau.storage, name
    if name == "_rebuild_from_type_v2":
        return flambeau._utils, name
    if module == "torch._C._nn":
        return flambeau.nn.functional, name
    if module in ("torch._C._linalg", "torch._C._special", "torch._C._fft"):
        return getattr(flambeau, module.rpartition("._")[2]), name.partition("_")[2]
    if module in ("torch.functional", "torch._C._VariableFunctions"):
        return flambeau, name
    return importlib.import_module(_OURS + module[len(_THEIRS) :]), name


def find(module: str, name: str):
    """Our object for a name in a file; names of other packages are imported as they are."""
    theirs = f"{module}.{name}"
    if theirs == "torch._C._VariableFunctionsClass":
        return flambeau  # functions are attributes of it
    if theirs == "torch._C.TensorBase":
        return flambeau.Tensor
    if not _is_within(module, _THEIRS):
        found = importlib.import_module(module)
    else:
        if (why := why_unsupported(theirs)) is not None:
            raise RuntimeError(why)
        try:
            found, name = _home(module, name)
        except ModuleNotFoundError as error:
            raise AttributeError(f"the file uses {theirs}, which flambeau does not have") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise AttributeError(f"the file uses {theirs}, which does not exist here") from None
    return found
