"""The unpickler of ``load(..., weights_only=True)``.

A pickle is a program for a small stack machine. This is such a machine with the dangerous instructions taken out: names
are looked up in an allow-list, only those may be called, and only objects that they made may have their state set. No
pickle, however made, gets it to import a module or to call anything else.
"""

from __future__ import annotations

import _compat_pickle
import os
import struct
from collections import Counter, OrderedDict
from contextlib import contextmanager
from pickle import UnpicklingError

import flambeau
from flambeau import _utils
from flambeau._dtypes_info import STORED_ONLY

from . import names

_STORAGE_DTYPES = (
    "BFloat16 Bool Byte Char ComplexDouble ComplexFloat Double Float Half Int Long Short".split()
)
_DTYPES = (
    "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 "
    "complex32 complex64 complex128"
).split() + [*STORED_ONLY]
_REBUILDERS = (
    "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_meta_tensor_no_storage _rebuild_parameter "
    "_rebuild_parameter_with_state _rebuild_sparse_tensor"
).split()

_LARGE = 1 << 20
_DEEPEST = 1000

_user_globals: dict[str, object] = {}


def _codecs_encode(text, encoding="latin1"):
    """Protocol 2 writes bytes as ``_codecs.encode(text, 'latin1')``."""
    if encoding not in ("latin1", "latin-1"):
        raise UnpicklingError(f"_codecs.encode is only allowed with latin1, not {encoding}")
    return text.encode("latin1")


def _bytes():
    """``bytes()`` is how protocol 2 writes empty ones. A number would ask for that much memory."""
    return b""


def _bytearray(*args):
    if not all(isinstance(arg, (bytes, str)) for arg in args):
        raise UnpicklingError("bytearray is only allowed of bytes or text")
    return bytearray(*args)


def _rebuild_from_type_v2(function, new_type, args, state):
    if id(function) not in callables():
        raise UnpicklingError(f"Trying to call reduce for unrecognized function {function}")
    return _utils._rebuild_from_type_v2(function, new_type, args, state)


def _standard_globals() -> dict[str, object]:
    table: dict[str, object] = {
        "collections.OrderedDict": OrderedDict,
        "collections.Counter": Counter,
        "builtins.set": set,
        "builtins.frozenset": frozenset,
        "builtins.bytes": _bytes,
        "builtins.complex": complex,
        "builtins.bytearray": _bytearray,
        "_codecs.encode": _codecs_encode,
    }
    found = [("torch", f"{dtype}Storage") for dtype in _STORAGE_DTYPES]
    found += [("torch.cuda", f"{dtype}Storage") for dtype in _STORAGE_DTYPES]
    found += [("torch.storage", "TypedStorage"), ("torch.storage", "UntypedStorage")]
    found += [("torch", dtype) for dtype in _DTYPES]
    found += [("torch", "Size"), ("torch", "device"), ("torch", "Tensor")]
    found += [("torch._utils", function) for function in _REBUILDERS]
    found += [("torch.serialization", "_get_layout")]
    table["torch._tensor._rebuild_from_type_v2"] = _rebuild_from_type_v2
    table.update({f"{module}.{name}": names.find(module, name) for module, name in found})
    return table


_standard: dict[str, object] = {}
_callables: dict[int, object] = {}  # made anew when the user's globals change


def allowed_globals() -> dict[str, object]:
    """What a file may name, without and with the user's additions."""
    if not _standard:
        _standard.update(_standard_globals())
    return {**_standard, **_user_globals}


def callables() -> dict[int, object]:
    """What a file may call, by id. Storages, dtypes and tensors it only names: calling them would take memory."""
    if not _callables:
        named_only = {"torch.Tensor", *(f"torch.{name}" for name in _DTYPES)}
        for path, obj in allowed_globals().items():
            if path in _user_globals or not (path in named_only or path.endswith("Storage")):
                _callables[id(obj)] = obj
        _callables[id(flambeau.nn.Parameter)] = flambeau.nn.Parameter
    return _callables


def _lookup(path: str):
    if not _standard:
        _standard.update(_standard_globals())
    if path in _user_globals:
        return _user_globals[path]
    if path == "torch.nn.parameter.Parameter":
        return flambeau.nn.Parameter
    return _standard.get(path)


def _path_of(obj) -> str:
    found = names.file_name(obj, obj.__qualname__)
    return ".".join(found or (obj.__module__, obj.__qualname__))


def add_safe_globals(safe_globals: list) -> None:
    """Allow ``load(..., weights_only=True)`` to build these classes and call these functions.

    Args:
        safe_globals: classes or functions, or pairs of one and the full name by which files call it.
    """
    for item in safe_globals:
        if isinstance(item, tuple):
            if len(item) != 2 or not isinstance(item[1], str):
                raise ValueError(f"add_safe_globals: expected (callable, 'module.name'), got {item}")
            obj, path = item
        else:
            obj, path = item, _path_of(item)
        _user_globals[path] = obj
    _callables.clear()


def get_safe_globals() -> list:
    """The classes and functions that were allowed with `add_safe_globals`."""
    return list(_user_globals.values())


def clear_safe_globals() -> None:
    """Forget what `add_safe_globals` allowed."""
    _user_globals.clear()
    _callables.clear()


@contextmanager
def safe_globals(safe_globals: list):
    """Context manager: `add_safe_globals` for the length of a ``with`` block."""
    saved = dict(_user_globals)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _user_globals.clear()
        _user_globals.update(saved)
        _callables.clear()


def modern_path(module: str, name: str) -> str:
    """The full name of a global, by what Python 3 calls its module (protocol 2 writes Python 2's names)."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        module, name = _compat_pickle.NAME_MAPPING[module, name]
    elif module in _compat_pickle.IMPORT_MAPPING:
        module = _compat_pickle.IMPORT_MAPPING[module]
    return f"{module}.{name}"


def unsupported_global(path: str) -> str:
    """The text that tells a user which name was refused, and how to allow it."""
    short = path.removeprefix("builtins.")
    return (
        f"Unsupported global: GLOBAL {short} was not an allowed global by default. Please use "
        f"`torch.serialization.add_safe_globals([{short}])` or the "
        f"`torch.serialization.safe_globals([{short}])` context manager to allowlist this global "
        "if you trust this class/function."
    )


class _Foreign(Exception):
    """Carries an error that didn't come from the pickle past the handling of those that did."""


class _Mark:
    pass


_MARK = _Mark()


class RestrictedUnpickler:
    """Runs one pickle.

    Args:
        file: where to read it; ``read``, ``readline``, ``seek`` and ``tell`` are used.
        persistent_load: called with the id of an object kept outside the pickle (a storage).
        encoding: how strings of Python 2 are decoded; ``"bytes"`` leaves them.
    """

    def __init__(self, file, persistent_load, encoding: str = "ASCII"):
        self._file = file
        self._persistent_load = persistent_load
        self._encoding = encoding
        self._stack: list = []
        self._memo: dict[int, object] = {}
        self._made: dict[int, object] = {}  # by id, what this pickle built
        self._depths: dict[int, int] = {}  # by id, how deep tuples are nested

    def load(self):
        try:
            while True:
                code = self._file.read(1)
                if not code:
                    raise EOFError("the pickle ends too early")
                if code == b".":
                    return self._pop()
                handler = _HANDLERS.get(code)
                if handler is None:
                    raise UnpicklingError(f"Unsupported operand {code[0]}")
                handler(self)
        except _Foreign as error:
            raise error.__cause__ from None
        except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError, struct.error) as error:
            raise UnpicklingError(f"the pickle is damaged: {type(error).__name__}: {error}") from error

    # ---- reading and the stack

    def _read(self, size: int) -> bytes:
        if size > _LARGE and size > self._remaining():  # or the file object would make room for it
            raise EOFError("the pickle ends too early")
        data = self._file.read(size) if size >= 0 else b""
        if len(data) != size:
            raise EOFError("the pickle ends too early")
        return data

    def _remaining(self) -> int:
        here = self._file.tell()
        self._file.seek(0, os.SEEK_END)
        end = self._file.tell()
        self._file.seek(here)
        return end - here

    def _number(self, layout: str) -> int:
        return struct.unpack(layout, self._read(struct.calcsize(layout)))[0]

    def _line(self) -> str:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the pickle ends too early")
        return line[:-1].decode("utf-8")

    def _push(self, value) -> None:
        self._stack.append(value)

    def _pop(self):
        value = self._stack.pop()
        if value is _MARK:
            raise UnpicklingError("the pickle is damaged: a mark where a value was expected")
        return value

    def _top(self, kind):
        if not isinstance(self._stack[-1], kind):
            raise UnpicklingError(
                f"Can only add items to a {kind.__name__}, not to {type(self._stack[-1]).__name__}"
            )
        return self._stack[-1]

    def _pop_to_mark(self) -> list:
        for i in range(len(self._stack) - 1, -1, -1):
            if self._stack[i] is _MARK:
                items = self._stack[i + 1 :]
                del self._stack[i:]
                return items
        raise UnpicklingError("the pickle is damaged: no mark")

    # ---- instructions

    def _global(self) -> None:
        module, name = self._line(), self._line()
        self._push(self._find(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnpicklingError("STACK_GLOBAL requires str")
        self._push(self._find(module, name))

    def _find(self, module: str, name: str):
        path = modern_path(module, name)
        found = _lookup(path)
        if found is None:
            if (why := names.why_unsupported(path)) is not None:
                raise _Foreign from RuntimeError(why)
            raise UnpicklingError(unsupported_global(path))
        return found

    def _check_callable(self, function) -> None:
        # Globals come from the allow-list only, but the stack may hold other callables (say, a class that is the value
        # of an attribute); only what the list names may be called.
        if id(function) not in callables():
            raise UnpicklingError(f"Trying to call reduce for unrecognized function {function}")

    def _reduce(self) -> None:
        args, function = self._pop(), self._pop()
        self._check_callable(function)
        if not isinstance(args, tuple):
            raise UnpicklingError("REDUCE requires a tuple of arguments")
        value = function(*args)
        self._made[id(value)] = value
        self._push(value)

    def _newobj(self) -> None:
        args, cls = self._pop(), self._pop()
        self._new(cls, args, {})

    def _newobj_ex(self) -> None:
        kwargs, args, cls = self._pop(), self._pop(), self._pop()
        self._new(cls, args, kwargs)

    def _new(self, cls, args, kwargs) -> None:
        self._check_callable(cls)
        if not isinstance(cls, type):
            raise UnpicklingError(f"Trying to create a new object of unrecognized class {cls}")
        value = cls.__new__(cls, *args, **kwargs)
        self._made[id(value)] = value
        self._push(value)

    def _build(self) -> None:
        state = self._pop()
        obj = self._stack[-1]
        # Never a class or a function: changing those would reach beyond the objects of this file.
        if isinstance(obj, type) or id(obj) not in self._made:
            raise UnpicklingError(
                f"Can only build objects that the pickle itself created, not {type(obj).__name__}"
            )
        if isinstance(obj, OrderedDict):
            obj.__dict__.update(state)
        elif isinstance(obj, flambeau.Tensor):
            _utils._set_state(obj, state)
        elif type(obj) in _user_globals.values():
            if hasattr(obj, "__setstate__"):
                obj.__setstate__(state)
            else:
                _utils._set_state(obj, state)
        else:
            raise UnpicklingError(
                "Can only build Tensor, Parameter, OrderedDict or types allowlisted via `add_safe_globals`, "
                f"but got {type(obj)}"
            )

    def _binpersid(self) -> None:
        pid = self._pop()
        if not isinstance(pid, tuple) or not pid or pid[0] not in ("storage", b"storage"):
            raise UnpicklingError("Only persistent_load of storage is allowed")
        try:
            storage = self._persistent_load(pid)
        except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
            raise _Foreign from error  # of a map_location, say: not the pickle's fault
        self._push(storage)

    def _get(self, key: int) -> None:
        if key not in self._memo:
            raise UnpicklingError(f"the pickle is damaged: nothing is memoized under {key}")
        self._push(self._memo[key])

    def _put(self, key: int) -> None:
        self._memo[key] = self._stack[-1]

    def _string(self, data: bytes) -> None:
        self._push(data if self._encoding == "bytes" else data.decode(self._encoding))

    def _long(self, size: int) -> None:
        self._push(int.from_bytes(self._read(size), "little", signed=True))

    def _tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)]
        self._push_tuple(reversed(items))

    def _push_tuple(self, items) -> None:
        value = tuple(items)
        depth = 1 + max(
            (self._depths.get(id(item), 0) for item in value if isinstance(item, tuple)), default=0
        )
        if depth > _DEEPEST:  # hashing it would exhaust the processor's stack
            raise UnpicklingError(f"tuples are nested more than {_DEEPEST} deep")
        self._depths[id(value)] = depth
        self._push(value)

    def _append(self) -> None:
        item = self._pop()
        self._top(list).append(item)

    def _appends(self) -> None:
        items = self._pop_to_mark()
        self._top(list).extend(items)

    def _setitem(self) -> None:
        value, key = self._pop(), self._pop()
        self._top(dict)[key] = value

    def _setitems(self) -> None:
        items = self._pop_to_mark()
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def _additems(self) -> None:
        items = self._pop_to_mark()
        self._top(set).update(items)

    def _dict(self) -> None:
        items = self._pop_to_mark()
        self._push(dict(zip(items[::2], items[1::2], strict=True)))

    def _protocol(self) -> None:
        version = self._number("<B")
        if version > 5:
            raise UnpicklingError(f"unsupported pickle protocol: {version}")

    def _text(self, layout: str) -> None:
        self._push(self._read(self._number(layout)).decode("utf-8", "surrogatepass"))

    def _bytes(self, layout: str) -> None:
        self._push(self._read(self._number(layout)))


def _constant(value):
    return lambda machine: machine._push(value)


_M = RestrictedUnpickler
_HANDLERS = {
    b"\x80": _M._protocol,
    b"\x95": lambda m: m._read(8),  # FRAME: only a hint for reading ahead
    b"c": _M._global,
    b"\x93": _M._stack_global,
    b"R": _M._reduce,
    b"\x81": _M._newobj,
    b"\x92": _M._newobj_ex,
    b"b": _M._build,
    b"Q": _M._binpersid,
    b"(": _constant(_MARK),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b")": _constant(()),
    b"}": lambda m: m._push({}),
    b"]": lambda m: m._push([]),
    b"\x8f": lambda m: m._push(set()),
    b"d": _M._dict,
    b"l": lambda m: m._push(m._pop_to_mark()),
    b"t": lambda m: m._push_tuple(m._pop_to_mark()),
    b"\x91": lambda m: m._push(frozenset(m._pop_to_mark())),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"a": _M._append,
    b"e": _M._appends,
    b"s": _M._setitem,
    b"u": _M._setitems,
    b"\x90": _M._additems,
    b"0": lambda m: m._stack.pop(),
    b"1": _M._pop_to_mark,
    b"2": lambda m: m._push(m._stack[-1]),
    b"J": lambda m: m._push(m._number("<i")),
    b"K": lambda m: m._push(m._number("<B")),
    b"M": lambda m: m._push(m._number("<H")),
    b"G": lambda m: m._push(m._number(">d")),
    b"\x8a": lambda m: m._long(m._number("<B")),
    b"\x8b": lambda m: m._long(m._number("<i")),
    b"X": lambda m: m._text("<I"),
    b"\x8c": lambda m: m._text("<B"),
    b"\x8d": lambda m: m._text("<Q"),
    b"B": lambda m: m._bytes("<I"),
    b"C": lambda m: m._bytes("<B"),
    b"\x8e": lambda m: m._bytes("<Q"),
    b"\x96": lambda m: m._push(bytearray(m._read(m._number("<Q")))),
    b"U": lambda m: m._string(m._read(m._number("<B"))),
    b"T": lambda m: m._string(m._read(m._number("<i"))),
    b"h": lambda m: m._get(m._number("<B")),
    b"j": lambda m: m._get(m._number("<I")),
    b"q": lambda m: m._put(m._number("<B")),
    b"r": lambda m: m._put(m._number("<I")),
    b"\x94": lambda m: m._put(len(m._memo)),
}
