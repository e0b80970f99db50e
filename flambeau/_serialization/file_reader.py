"""``torch.PyTorchFileReader``: the records of a file written by `save`, one at a time."""

from __future__ import annotations

import flambeau
from flambeau.storage import UntypedStorage, storage_bytes

from .zip_format import Reader

_SERIALIZATION_ID = ".data/serialization_id"


class PyTorchFileReader:
    """Finds the records of a file of `save` and reads those that are asked for; programs load checkpoints lazily so.

    Args:
        file: a path, or a file object that can be read and positioned.

    >>> import io
    >>> file = io.BytesIO()
    >>> flambeau.save({"a": flambeau.arange(3)}, file)
    >>> flambeau.PyTorchFileReader(file).get_record_size("data/0")
    24
    """

    def __init__(self, file):
        try:
            self._file = open(file, "rb") if isinstance(file, str) else file  # noqa: SIM115: open as long as it lives
        except OSError as error:
            raise RuntimeError(
                f"open file failed because of errno {error.errno} on fopen: {error.strerror}, file path: {file}"
            ) from None
        self._reader = Reader(self._file)

    def get_all_records(self) -> list[str]:
        """Names of the records."""
        return self._reader.names()

    def has_record(self, name: str) -> bool:
        """Whether there is a record of that name."""
        return name in self._reader

    def get_record(self, name: str) -> bytes:
        """A record's bytes."""
        return self._reader.read(name)

    def get_record_size(self, name: str) -> int:
        """How many bytes a record has."""
        return self._reader.size(name)

    def get_record_offset(self, name: str) -> int:
        """Where in the file a record's bytes start."""
        return self._reader.locate(name)

    def serialization_id(self) -> str:
        """A number made of the file's contents, as text; empty in files that have none."""
        return self.get_record(_SERIALIZATION_ID).decode() if self.has_record(_SERIALIZATION_ID) else ""

    def get_storage_from_record(self, name: str, numel: int, dtype):
        """An empty tensor whose storage holds a record of `numel` elements of `dtype`.

        For ``dtype=torch.UntypedStorage``, elements are bytes.
        """
        element = flambeau.uint8 if dtype is UntypedStorage else dtype
        expected, found = numel * element.itemsize, self._reader.size(name)
        if found != expected:
            raise RuntimeError(
                f"record size ({found} bytes) does not match expected size ({expected} bytes = {numel} elements * "
                f"{element.itemsize} bytes/element) for dtype {element}"
            )
        storage = UntypedStorage(found)
        if found:
            self._reader.read_into(name, storage_bytes(storage))
        return flambeau._C.tensor_from_storage(storage, element, 0, (0,), (1,))
