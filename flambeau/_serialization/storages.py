"""Where the storages of a file go: devices, `map_location`, byte order."""

from __future__ import annotations

import sys

import flambeau
from flambeau.storage import TypedStorage, UntypedStorage, storage_bytes


class MetaStorage:
    """Stands for a storage that was sent to the meta device: a size, but no memory."""

    def __init__(self, nbytes: int):
        self._nbytes = nbytes
        self.device = flambeau.device("meta")

    def nbytes(self) -> int:
        return self._nbytes


def location_of(storage) -> str:
    """The tag under which a file remembers a storage's device."""
    return storage.device.type


def default_restore_location(storage, location: str):
    """Put a storage that has been read to where the file says it was, or explain why that is impossible."""
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
