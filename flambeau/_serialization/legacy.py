"""PyTorch's formats before version 1.6: a row of pickles with raw storages behind, and a tar archive before that."""

from __future__ import annotations

import io
import pickle
import struct
import sys

import flambeau
from flambeau import _utils
from flambeau.storage import TypedStorage, UntypedStorage, storage_bytes, storage_identity

from . import names, storages

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_TYPE_SIZES = {"short": 2, "int": 4, "long": 4}


def save(obj, file, pickle_module, protocol: int) -> None:
    """Write the row-of-pickles format."""
    kept: dict[str, tuple] = {}

    def persistent_id(item):
        if not isinstance(item, (TypedStorage, UntypedStorage)):
            return None
        untyped = item.untyped() if isinstance(item, TypedStorage) else item
        dtype = item.dtype if isinstance(item, TypedStorage) else flambeau.uint8
        key = str(storage_identity(untyped))
        if kept.setdefault(key, (untyped, dtype))[1] is not dtype:
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different types"
            )
        storage_class = getattr(
            flambeau.storage, TypedStorage(wrap_storage=untyped, dtype=dtype).pickle_storage_type()
        )
        numel = untyped.nbytes() // dtype.itemsize
        return ("storage", storage_class, key, storages.location_of(untyped), numel, None)

    body = names.dumps(obj, persistent_id, protocol, pickle_module)
    system = {
        "protocol_version": PROTOCOL,
        "little_endian": sys.byteorder == "little",
        "type_sizes": _TYPE_SIZES,
    }
    for part in (MAGIC, PROTOCOL, system):
        file.write(pickle.dumps(part, protocol))
    file.write(body)
    keys = sorted(kept)
    file.write(pickle.dumps(keys, protocol))
    for key in keys:
        untyped, dtype = kept[key]
        file.write(struct.pack("<q", untyped.nbytes() // dtype.itemsize))
        if untyped.nbytes():
            file.write(storage_bytes(untyped))


def _read_exactly(file, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError(f"load: the file ends too early: {size} bytes expected, {len(data)} found")
    return data


def _remaining(file) -> int:
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    return (file.tell() if end is None else end) - here


def load(file, restore, unpickler):
    """Read the row-of-pickles format.

    `unpickler(file, persistent_load)` makes an object whose ``load()`` reads one pickle.
    """

    def no_storage(pid):
        raise pickle.UnpicklingError("load: a storage where none is expected")

    def load_plain():
        return unpickler(file, no_storage).load()

    if load_plain() != MAGIC:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = load_plain()
    if version != PROTOCOL:
        raise RuntimeError(f"Invalid protocol version: {version}")
    system = load_plain()
    little_endian = system.get("little_endian", True) if isinstance(system, dict) else True
    # key -> the storage that gets the data, its dtype, and what `restore` made of it
    read: dict[str, tuple] = {}

    def persistent_load(pid):
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] in ("module", b"module"):
            return pid[
                1
            ]  # the class of a module; PyTorch keeps its source beside it, to warn when it has changed
        storage_class, key, location, numel, view = storages.parse_id(pid)
        kind, dtype = storages.element_type(storage_class)
        if key not in read:
            nbytes = numel * dtype.itemsize
            if nbytes > _remaining(file):
                raise EOFError(f"load: the file ends too early: it lacks a storage of {nbytes} bytes")
            untyped = UntypedStorage(nbytes)
            restored = restore(untyped, location)
            if isinstance(restored, UntypedStorage) and restored.nbytes() == nbytes:
                untyped = restored
            read[key] = (untyped, dtype, restored)
        restored = read[key][2]
        if view is not None:
            _, offset, size = view
            tensor = flambeau._C.tensor_from_storage(restored, dtype, offset, (size,), (1,))
            part = flambeau.empty_like(tensor)
            _utils.when_read(lambda: part.copy_(tensor))
            restored = part.untyped_storage()
        return storages.wrap(restored, kind, dtype)

    with _utils.data_follow():
        result = unpickler(file, persistent_load).load()
        keys = load_plain()
        if not isinstance(keys, list) or not all(isinstance(key, (str, bytes)) for key in keys):
            raise pickle.UnpicklingError("load: the list of storages is damaged")
        for key in keys:
            key = key.decode("ascii", "replace") if isinstance(key, bytes) else key
            if key not in read:
                raise RuntimeError(
                    f"load: the file holds a storage {key} that nothing refers to; corrupt file?"
                )
            _read_storage(file, *read[key][:2], little_endian)
    return result


def _read_storage(file, untyped, dtype, little_endian: bool) -> None:
    (numel,) = struct.unpack("<q" if little_endian else ">q", _read_exactly(file, 8))
    if numel * dtype.itemsize != untyped.nbytes():
        raise RuntimeError(
            f"storage has wrong byte size: expected {untyped.nbytes()} got {numel * dtype.itemsize}"
        )
    if numel:
        storage_bytes(untyped)[:] = _read_exactly(file, untyped.nbytes())
        if little_endian != (sys.byteorder == "little"):
            storages.reverse_byte_order(untyped, dtype)


def load_tar(file, restore, encoding: str):
    """Read the oldest format: a tar archive of three pickled streams. It can hold any pickle: trusted files only."""
    import tarfile

    with tarfile.open(fileobj=file, mode="r:", format=tarfile.PAX_FORMAT) as archive:
        parts = {}
        for name in ("storages", "tensors", "pickle"):
            try:
                member = archive.extractfile(name) or archive.extractfile(f"./{name}")
            except KeyError:
                raise RuntimeError(f"load: the archive has no member {name!r}; corrupt file?") from None
            parts[name] = io.BytesIO(member.read())

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if not names._is_within(module, "torch"):
                return super().find_class(module, name)
            # The class of each tensor is written beside it, but its storage says the dtype already.
            return flambeau.Tensor if name.endswith("Tensor") else names.find(module, name)

        def persistent_load(self, pid):
            return pid[0] if isinstance(pid, tuple) else objects[int(pid)]

    objects: dict[int, object] = {}
    stream = parts["storages"]
    for _ in range(pickle.load(stream)):
        key, location, storage_class = Unpickler(stream, encoding=encoding).load()
        _, dtype = storages.element_type(storage_class)
        (numel,) = struct.unpack("<q", _read_exactly(stream, 8))
        untyped = UntypedStorage(numel * dtype.itemsize)
        if numel:
            storage_bytes(untyped)[:] = _read_exactly(stream, untyped.nbytes())
        objects[key] = TypedStorage(wrap_storage=restore(untyped, location), dtype=dtype)
    for target, root, offset, numel in Unpickler(stream, encoding=encoding).load():
        view = objects[root]._tensor()[offset : offset + numel]
        objects[target] = TypedStorage(wrap_storage=view.clone().untyped_storage(), dtype=view.dtype)
    stream = parts["tensors"]
    for _ in range(pickle.load(stream)):
        key, storage_id, _ = Unpickler(stream, encoding=encoding).load()
        storage = objects[storage_id]
        dim, _ = struct.unpack("<ii", _read_exactly(stream, 8))
        size = struct.unpack(f"<{dim}q", _read_exactly(stream, 8 * dim))
        stride = struct.unpack(f"<{dim}q", _read_exactly(stream, 8 * dim))
        (offset,) = struct.unpack("<q", _read_exactly(stream, 8))
        objects[key] = flambeau._C.tensor_from_storage(storage.untyped(), storage.dtype, offset, size, stride)
    return Unpickler(parts["pickle"], encoding=encoding).load()
