"""`save` and `load`: objects that hold tensors, in PyTorch's own file format, both ways.

A file is a zip archive (see `_serialization.zip_format`): ``data.pkl`` is the pickled object, in which every storage is a
number, and ``data/<number>`` holds that storage's bytes. Tensors that share memory share it again after loading.
"""

from __future__ import annotations

import errno
import io
import mmap as memory_map
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import contextmanager

import flambeau
from flambeau._serialization import legacy, names, options, restricted, storages, zip_format
from flambeau._serialization.options import (
    LoadEndianness,
    get_crc32_options,
    get_default_load_endianness,
    get_default_mmap_options,
    set_crc32_options,
    set_default_load_endianness,
    set_default_mmap_options,
    skip_data,
)
from flambeau._serialization.restricted import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
)
from flambeau._serialization.storages import default_restore_location, register_package
from flambeau.storage import TypedStorage, UntypedStorage, storage_bytes, storage_identity

__all__ = [
    "LoadEndianness",
    "SourceChangeWarning",
    "add_safe_globals",
    "clear_safe_globals",
    "default_restore_location",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "location_tag",
    "register_package",
    "safe_globals",
    "save",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
    "skip_data",
]


class SourceChangeWarning(Warning):
    """Said by releases before 1.6 when a model's code had changed since it was saved."""


#: What `load` takes as `map_location`.
MAP_LOCATION = Callable[[UntypedStorage, str], UntypedStorage] | flambeau.device | str | dict[str, str] | None

DEFAULT_PROTOCOL = 2
_ALIGNMENT = 64


def location_tag(storage) -> str:
    """The tag under which files remember a storage's device, such as ``"cpu"``."""
    return storages.location_of(storage)


def _is_path(f) -> bool:
    return isinstance(f, (str, os.PathLike))


# ---- saving ----------------------------------------------------------------------------------------------------------


def save(
    obj,
    f,
    pickle_module=pickle,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Write an object to a file that `load`, and PyTorch, can read.

    A file given by its path is written beside its final place and then renamed, so that an interrupted save leaves the
    old file as it was.

    Args:
        obj: anything that can be pickled; tensors in it are stored as raw memory, shared memory once.
        f: a path, or an object with ``write``.
        pickle_module: whose ``Pickler`` to use.
        pickle_protocol: the pickle protocol; PyTorch's files use 2.

    >>> import io
    >>> file = io.BytesIO()
    >>> flambeau.save({"weight": flambeau.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> flambeau.load(file)
    {'weight': tensor([1., 1.])}
    """
    if _is_path(f):
        with _replacing(os.fspath(f)) as file:
            name = os.path.splitext(os.path.basename(os.fspath(f)))[0] or "archive"
            _save_to(
                file,
                name,
                obj,
                pickle_module,
                pickle_protocol,
                _use_new_zipfile_serialization,
                _disable_byteorder_record,
            )
        return
    if not hasattr(f, "write"):
        raise AttributeError(
            f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, got {f!r}"
        )
    _save_to(
        f,
        "archive",
        obj,
        pickle_module,
        pickle_protocol,
        _use_new_zipfile_serialization,
        _disable_byteorder_record,
    )


@contextmanager
def _replacing(path: str):
    """A file to write that takes the place of `path` when all has gone well, and disappears when it has not."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(path, "wb") as file:  # a device or a pipe: nothing to rename, and a folder is an error
            yield file
        return
    temporary = os.path.join(os.path.dirname(target), f".flambeau-{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        file = open(temporary, "xb")
    except PermissionError:
        with open(path, "wb") as file:  # no new files in this folder, but perhaps this one
            yield file
        return
    try:
        with file:
            yield file
            if os.path.exists(target):
                os.chmod(temporary, os.stat(target).st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise OSError(
                error.errno, f"save: {error.strerror}; nothing was written, an old file is as it was", path
            ) from error
        raise


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _save_to(file, name, obj, pickle_module, protocol, as_zip, without_byte_order) -> None:
    if not as_zip:
        legacy.save(obj, file, pickle_module, protocol)
        return
    kept: dict[int, tuple[str, object, object]] = {}  # identity -> key in the file, storage, dtype

    def persistent_id(item):
        if isinstance(item, TypedStorage):
            untyped, dtype = item.untyped(), item.dtype
            storage_class, width = getattr(flambeau.storage, item.pickle_storage_type()), dtype.itemsize
        elif isinstance(item, UntypedStorage):
            untyped, dtype, storage_class, width = item, None, UntypedStorage, 1
        else:
            return None
        identity = storage_identity(untyped)
        if identity not in kept:
            kept[identity] = (str(len(kept)), untyped, dtype)
        key, _, first_dtype = kept[identity]
        if first_dtype is not dtype:
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different types"
            )
        return ("storage", storage_class, key, location_tag(untyped), untyped.nbytes() // width)

    body = names.dumps(obj, persistent_id, protocol, pickle_module)
    writer = zip_format.Writer(file, name, _ALIGNMENT, options.get_crc32_options())
    writer.write_record("data.pkl", body)
    writer.write_record(".format_version", b"1")
    writer.write_record(".storage_alignment", str(_ALIGNMENT).encode())
    if not without_byte_order:
        writer.write_record("byteorder", sys.byteorder.encode())
    for key, untyped, _ in kept.values():
        if options.skips_data():
            writer.leave_record(f"data/{key}", untyped.nbytes())
        else:
            writer.write_record(f"data/{key}", storage_bytes(untyped) if untyped.nbytes() else b"")
    writer.write_record("version", b"3\n")
    writer.close()


# ---- loading ---------------------------------------------------------------------------------------------------------

_HOW_TO_ALLOW = (
    "Weights only load failed. This file can still be loaded, to do so you have two options, do those steps only if you "
    "trust the source of the checkpoint.\n"
    "\t(1) Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can result in arbitrary "
    "code execution. Do it only if you got the file from a trusted source.\n"
    "\t(2) Alternatively, to load with `weights_only=True` please check the recommended steps in the following error "
    "message.\n"
    "\tWeightsUnpickler error: "
)


def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, **pickle_load_args):
    """Read an object that `save`, or PyTorch, wrote.

    By default only tensors and plain containers are built (``weights_only=True``), so that a file from a stranger cannot
    run code; see `add_safe_globals` for other classes.

    Args:
        f: a path, or a seekable object with ``read``, ``seek`` and ``tell``.
        map_location: where storages go: a device, a dict from the file's tags to tags, or a function of a storage and its
            tag that returns a storage, or None for the default.
        pickle_module: whose ``Unpickler`` to use; only with ``weights_only=False``.
        weights_only: whether to refuse everything but data.
        mmap: map the file into memory rather than reading it: storages are read when first touched, and writing to them
            does not change the file. Needs a path.
        pickle_load_args: passed to the unpickler, such as ``encoding="bytes"`` for files of Python 2.

    Raises:
        pickle.UnpicklingError: the file holds something that ``weights_only=True`` refuses.
        RuntimeError: the file is damaged, or its storages were on a device that isn't here.
    """
    if pickle_module is not None and weights_only:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if weights_only is None:
        forced_off = _is_set("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
        weights_only = _is_set("TORCH_FORCE_WEIGHTS_ONLY_LOAD") or (pickle_module is None and not forced_off)
    if weights_only and (unknown := pickle_load_args.keys() - {"encoding"}):
        raise TypeError(
            f"load() got an unexpected keyword argument '{min(unknown)}'; with weights_only=True it takes encoding alone"
        )
    pickle_load_args.setdefault("encoding", "utf-8")
    restore = storages.restore_function(map_location)
    if _is_path(f):
        path = os.fspath(f)
        with open(path, "rb") as file:
            return _load_from(file, path, restore, pickle_module, weights_only, bool(mmap), pickle_load_args)
    if mmap:
        raise ValueError("f must be a string or os.PathLike filename in order to use the mmap argument")
    for method in ("read", "seek", "tell"):
        if not hasattr(f, method):
            raise AttributeError(
                f"'{type(f).__name__}' object has no attribute '{method}'. You can only torch.load from a file that is "
                "seekable. Please pre-load the data into a buffer like io.BytesIO and try to load from it instead."
            )
    return _load_from(f, None, restore, pickle_module, weights_only, False, pickle_load_args)


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "y", "yes", "true")


def _load_from(file, path, restore, pickle_module, weights_only, mapped, pickle_args):
    start = file.tell()
    head = file.read(4)
    file.seek(start)
    if not head:
        raise EOFError(f"load: {path or 'the file'} is empty")
    if head.startswith(b"PK"):
        reader = zip_format.Reader(file)
        if "constants.pkl" in reader:
            raise RuntimeError(
                "load: the file is a TorchScript archive, which flambeau cannot run; save the model's state_dict with "
                "torch.save instead"
            )
        return _load_zip(reader, path, restore, pickle_module, weights_only, mapped, pickle_args)
    if mapped:
        raise RuntimeError(
            "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True)`, "
            "please torch.save your checkpoint with this option in order to use mmap."
        )
    if _is_tar(file, start):
        if weights_only:
            raise RuntimeError(
                "Cannot use ``weights_only=True`` with files saved in the legacy .tar format; if you trust the file, load "
                "it with weights_only=False and save it again"
            )
        return legacy.load_tar(file, restore, pickle_args["encoding"])
    make = _unpickler_maker(pickle_module, weights_only, pickle_args)
    source = file if hasattr(file, "readline") else io.BytesIO(file.read())
    with _explaining(weights_only):
        return legacy.load(source, restore, make)


def _is_tar(file, start: int) -> bool:
    file.seek(start + 257)
    found = file.read(5)
    file.seek(start)
    return found == b"ustar"


def _unpickler_maker(pickle_module, weights_only: bool, pickle_args: dict):
    """A function of a file and a `persistent_load` that makes an unpickler."""
    if weights_only:
        return lambda file, persistent_load: restricted.RestrictedUnpickler(
            file, persistent_load, pickle_args.get("encoding", "utf-8")
        )

    class Unpickler((pickle_module or pickle).Unpickler):
        def __init__(self, file, persistent_load):
            super().__init__(file, **pickle_args)
            self._load_storage = persistent_load

        def persistent_load(self, pid):
            return self._load_storage(pid)

        def find_class(self, module, name):
            return (
                names.find(module, name)
                if names._is_within(module, "torch")
                else super().find_class(module, name)
            )

    return Unpickler


@contextmanager
def _explaining(weights_only: bool):
    try:
        yield
    except pickle.UnpicklingError as error:
        if not weights_only:
            raise
        raise pickle.UnpicklingError(_HOW_TO_ALLOW + str(error)) from None


def _load_zip(reader, path, restore, pickle_module, weights_only, mapped, pickle_args):
    foreign_order = storages.is_foreign_byte_order(_byte_order(reader))
    source = _MappedFile(path, reader) if mapped else reader
    loaded: dict[str, object] = {}

    def persistent_load(pid):
        storage_class, key, location, numel, _ = storages.parse_id(pid)
        kind, dtype = storages.element_type(storage_class)
        if key not in loaded:
            record = f"data/{key}"
            if reader.size(record) != numel * dtype.itemsize:
                raise zip_format.FileDamaged(
                    f"record {record} has {reader.size(record)} bytes where {numel * dtype.itemsize} were expected"
                )
            if location == "meta" or getattr(restore, "target", None) == "meta":
                untyped = storages.MetaStorage(numel * dtype.itemsize)
            else:
                untyped = source.storage(record, dtype.itemsize) if mapped else _read_storage(reader, record)
                if foreign_order:
                    storages.reverse_byte_order(untyped, dtype)
                untyped = restore(untyped, location)
            loaded[key] = untyped
        return storages.wrap(loaded[key], kind, dtype)

    make = _unpickler_maker(pickle_module, weights_only, pickle_args)
    with _explaining(weights_only):
        return make(io.BytesIO(reader.read("data.pkl")), persistent_load).load()


def _byte_order(reader) -> str:
    if "byteorder" in reader:
        return reader.read("byteorder").decode("ascii", "replace")
    default = options.get_default_load_endianness() or LoadEndianness.LITTLE
    return sys.byteorder if default is LoadEndianness.NATIVE else default.name.lower()


def _read_storage(reader, record: str):
    untyped = UntypedStorage(reader.size(record))
    if untyped.nbytes() and not options.skips_data():
        reader.read_into(record, storage_bytes(untyped))
    return untyped


class _MappedFile:
    """The file as memory: pages are read when touched and, unless it is shared, copied when written."""

    def __init__(self, path: str, reader):
        self._reader = reader
        flags = options.get_default_mmap_options()
        with open(path, "r+b" if flags == memory_map.MAP_SHARED else "rb") as file:
            both = memory_map.PROT_READ | memory_map.PROT_WRITE
            self._map = memory_map.mmap(file.fileno(), 0, flags=flags, prot=both)

    def storage(self, record: str, alignment: int):
        size = self._reader.size(record)
        if size == 0:
            return UntypedStorage(0)
        offset = self._reader.locate(record)
        if offset % alignment:  # another program's file: elements can't be used where they are
            return _read_storage(self._reader, record)
        # The storage keeps the mapping alive.
        return UntypedStorage._from_buffer(memoryview(self._map)[offset : offset + size])


def get_unsafe_globals_in_checkpoint(f) -> list[str]:
    """Names in a file that ``load(f, weights_only=True)`` refuses, without running anything of it."""
    import pickletools

    if _is_path(f):
        with open(f, "rb") as file:
            return get_unsafe_globals_in_checkpoint(file)
    if f.read(2) != b"PK":
        raise ValueError("Expected input to be a checkpoint returned by torch.save (in the zip format)")
    body = zip_format.Reader(f).read("data.pkl")
    allowed = restricted.allowed_globals()
    found: dict[str, None] = {}
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(body):
        if opcode.name == "GLOBAL":
            module, _, name = argument.partition(" ")
        elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
            module, name = strings[-2:]
        else:
            if isinstance(argument, str):
                strings.append(argument)
            continue
        path = restricted.modern_path(module, name)
        if path not in allowed and path != "torch.nn.parameter.Parameter":
            found[path] = None
    return list(found)


def _get_layout(name: str):
    """The layout that a file calls ``torch.strided``."""
    layout = getattr(flambeau, name.rpartition(".")[2], None)
    if not isinstance(layout, flambeau.layout):
        raise ValueError(f"load: unknown layout {name}")
    return layout
