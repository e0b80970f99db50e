"""Where the storages of a file go: devices, `map_location`, byte order."""

from __future__ import annotations

import sys
from pickle import UnpicklingError

import flambeau
from flambeau.storage import MetaStorage, TypedStorage, UntypedStorage, storage_bytes


def location_of(storage) -> str:
    """The tag under which a file remembers a storage's device."""
    for _, tag, _ in _packages:
        if (found := tag(storage)) is not None:
            return found
    return storage.device.type


_packages: list[tuple] = []  # of other devices: priority, tagger, deserializer


def register_package(priority: int, tagger, deserializer) -> None:
    """Teach `save` and `load` about another device.

    Args:
        priority: packages are asked in this order, lowest first.
        tagger: a function of a storage that returns the tag for the file, or None if it isn't its own.
        deserializer: a function of a storage and its tag that returns the storage in its place, or None.
    """
    _packages.append((priority, tagger, deserializer))
    _packages.sort(key=lambda package: package[0])


def default_restore_location(storage, location: str):
    """Put a storage that has been read to where the file says it was, or explain why that is impossible."""
    for _, _, deserialize in _packages:
        if (result := deserialize(storage, location)) is not None:
            return result
    kind = location.partition(":")[0]
    if kind == "cpu":
        return storage
    if kind == "meta":
        return MetaStorage(storage.nbytes())
    if kind == "cuda":
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. "
            "If you are running on a CPU-only machine, please use torch.load with "
            "map_location=torch.device('cpu') to map your storages to the CPU."
        )
    raise RuntimeError(
        f"don't know how to restore data location of {type(storage).__name__} (tagged with {location}); "
        "flambeau has the devices cpu and meta: pass map_location='cpu' to load"
    )


def restore_function(map_location):
    """What `map_location` means, as a function of a storage and its tag."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(
            storage, map_location.get(location, location)
        )
    if isinstance(map_location, (str, flambeau.device)):
        target = str(flambeau.device(map_location))

        def to_target(storage, location):
            return default_restore_location(storage, target)

        to_target.target = target  # lets a loader skip reading what only goes to the meta device
        return to_target
    if not callable(map_location):
        raise TypeError(
            "load: map_location must be None, a device, a string, a dict or a function of (storage, location), "
            f"not {type(map_location).__name__}"
        )

    def restore(storage, location):
        result = map_location(storage, location)
        return default_restore_location(storage, location) if result is None else result

    return restore


def element_type(storage_class) -> tuple[type, object]:
    """The class and the dtype of the elements that a storage class from a file stands for."""
    if storage_class is UntypedStorage:
        return UntypedStorage, flambeau.uint8
    if isinstance(storage_class, type) and issubclass(storage_class, TypedStorage):
        from flambeau.storage import _DTYPE_OF_CLASS

        name = _DTYPE_OF_CLASS.get(storage_class.__name__)
        if name is not None:
            return TypedStorage, getattr(flambeau, name)
    raise RuntimeError(f"load: {storage_class} is not a storage class")


def parse_id(pid) -> tuple:
    """What a pickle says of a storage: its class, key, location, number of elements, and in old files which part of it."""
    parts = [item.decode("ascii", "replace") if isinstance(item, bytes) else item for item in pid[1:]]
    _, key, location, numel, *rest = parts if len(parts) >= 4 else (None,) * 4
    view = rest[0] if rest else None
    if not (isinstance(key, str) and isinstance(location, str) and type(numel) is int and numel >= 0):
        raise UnpicklingError("the pickle is damaged: a storage without class, key, location and size")
    if view is not None and not (
        isinstance(view, tuple) and len(view) == 3 and all(type(number) is int for number in view[1:])
    ):
        raise UnpicklingError("the pickle is damaged: a part of a storage without offset and size")
    return parts[0], key, location, numel, view


def wrap(untyped, kind: type, dtype):
    """The object that a pickle gets for a storage."""
    return untyped if kind is UntypedStorage else TypedStorage(wrap_storage=untyped, dtype=dtype)


def reverse_byte_order(storage, dtype) -> None:
    """Turn each number's bytes round, in place; a complex number is two numbers."""
    width = dtype.itemsize // 2 if dtype.is_complex else dtype.itemsize
    if width == 1:
        return
    view = storage_bytes(storage)
    source = bytes(view)
    turned = bytearray(len(source))
    for i in range(width):
        turned[i::width] = source[width - 1 - i :: width]
    view[:] = turned


def is_foreign_byte_order(order: str) -> bool:
    if order not in ("little", "big"):
        raise ValueError(f"Unknown endianness type: {order}")
    return order != sys.byteorder
