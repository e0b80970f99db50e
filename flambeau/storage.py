"""Typed views of a tensor's memory: the storage classes of PyTorch's file format and of `Tensor.storage`.

The memory itself belongs to the native `UntypedStorage`; a `TypedStorage` pairs it with a dtype and counts in elements.
"""

from __future__ import annotations

import flambeau
from flambeau._C import UntypedStorage

__all__ = ["TypedStorage", "UntypedStorage", "storage_bytes"]

_DTYPE_OF_CLASS = {
    "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ShortStorage": "int16",
}
_CLASS_OF_DTYPE = {dtype: name for name, dtype in _DTYPE_OF_CLASS.items()}


def storage_bytes(storage) -> memoryview:
    """The bytes of an untyped storage, readable and writable in place."""
    return memoryview(storage).cast("B")


def storage_identity(storage) -> int:
    """A number that two storage objects share if and only if they are the same memory."""
    return id(storage)  # the native side keeps one object per living storage


class MetaStorage:
    """Stands for a storage on the meta device: a size, but no memory."""

    def __init__(self, nbytes: int):
        self._nbytes = nbytes
        self.device = flambeau.device("meta")

    def nbytes(self) -> int:
        """How many bytes it would have."""
        return self._nbytes


class TypedStorage:
    """An `UntypedStorage` seen as elements of one dtype.

    Args:
        wrap_storage: the untyped storage to look at; it is not copied.
        dtype: what its elements are.

    >>> flambeau.tensor([1.0, 2.0]).storage().tolist()
    [1.0, 2.0]
    """

    dtype = None

    def __init__(self, *args, wrap_storage=None, dtype=None, device=None, _internal=False):
        if type(self) is not TypedStorage:
            dtype = getattr(flambeau, _DTYPE_OF_CLASS[type(self).__name__])
        if dtype is None:
            raise RuntimeError(
                "TypedStorage: a dtype is required, as in TypedStorage(wrap_storage=..., dtype=...)"
            )
        self.dtype = dtype
        if wrap_storage is not None:
            if args:
                raise RuntimeError("TypedStorage: give either wrap_storage or positional arguments, not both")
            self._untyped_storage = wrap_storage
        elif device is not None and flambeau.device(device).type == "meta":
            self._untyped_storage = MetaStorage(args[0] * dtype.itemsize if args else 0)
        elif not args:
            self._untyped_storage = UntypedStorage(0)
        elif isinstance(args[0], int):
            self._untyped_storage = UntypedStorage(args[0] * dtype.itemsize)
        else:
            self._untyped_storage = flambeau.tensor(list(args[0]), dtype=dtype).untyped_storage()

    @property
    def device(self):
        return self._untyped_storage.device

    @property
    def is_cuda(self) -> bool:
        return False

    def untyped(self):
        """The memory without a dtype."""
        return self._untyped_storage

    def _tensor(self):
        return flambeau._C.tensor_from_storage(self._untyped_storage, self.dtype, 0, (self.size(),), (1,))

    def size(self) -> int:
        """Number of elements."""
        return self._untyped_storage.nbytes() // self.dtype.itemsize

    def nbytes(self) -> int:
        return self._untyped_storage.nbytes()

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.nbytes()

    def element_size(self) -> int:
        return self.dtype.itemsize

    def data_ptr(self) -> int:
        return self._untyped_storage.data_ptr()

    @property
    def _cdata(self) -> int:
        return storage_identity(self._untyped_storage)

    def pickle_storage_type(self) -> str:
        """The name of the class that stands for this dtype in PyTorch's files, such as ``FloatStorage``."""
        name = str(self.dtype).rpartition(".")[2]
        if name not in _CLASS_OF_DTYPE:
            raise KeyError(f"there is no typed storage class for {self.dtype}")
        return _CLASS_OF_DTYPE[name]

    def tolist(self) -> list:
        return self._tensor().tolist()

    def clone(self) -> TypedStorage:
        """A copy in memory of its own."""
        return self._like(self._tensor().clone().untyped_storage())

    def cpu(self) -> TypedStorage:
        return self

    def to(self, *, device, non_blocking: bool = False) -> TypedStorage:
        """The storage itself, for the CPU; other devices are not there."""
        return self._like(self._untyped_storage.to(device=device, non_blocking=non_blocking))

    def cuda(self, device=None, non_blocking: bool = False):
        """An error: there is no CUDA device."""
        return self.to(device="cuda")

    def pin_memory(self, device="cuda"):
        """An error: memory is pinned for an accelerator, and there is none."""
        return self._tensor().pin_memory()

    def type(self, dtype=None, non_blocking=False):
        """The name of the class for this dtype; with a dtype, the elements converted to it."""
        return f"torch.{self.pickle_storage_type()}" if dtype is None else self._converted(dtype)

    def _converted(self, dtype) -> TypedStorage:
        return TypedStorage(wrap_storage=self._tensor().to(dtype, copy=True).untyped_storage(), dtype=dtype)

    def bfloat16(self) -> TypedStorage:
        return self._converted(flambeau.bfloat16)

    def bool(self) -> TypedStorage:
        return self._converted(flambeau.bool)

    def byte(self) -> TypedStorage:
        return self._converted(flambeau.uint8)

    def char(self) -> TypedStorage:
        return self._converted(flambeau.int8)

    def complex_double(self) -> TypedStorage:
        return self._converted(flambeau.complex128)

    def complex_float(self) -> TypedStorage:
        return self._converted(flambeau.complex64)

    def double(self) -> TypedStorage:
        return self._converted(flambeau.float64)

    def float(self) -> TypedStorage:
        return self._converted(flambeau.float32)

    def half(self) -> TypedStorage:
        return self._converted(flambeau.float16)

    def int(self) -> TypedStorage:
        return self._converted(flambeau.int32)

    def long(self) -> TypedStorage:
        return self._converted(flambeau.int64)

    def short(self) -> TypedStorage:
        return self._converted(flambeau.int16)

    def resizable(self):
        """Whether `resize_` may be called."""
        return self._untyped_storage.resizable()

    def resize_(self, size) -> TypedStorage:
        """Change the number of elements; those in common are kept."""
        self._untyped_storage.resize_(size * self.dtype.itemsize)
        return self

    def share_memory_(self) -> TypedStorage:
        """Move the elements into memory that other processes can see."""
        self._untyped_storage.share_memory_()
        return self

    def is_shared(self):
        """Whether other processes see the memory."""
        return self._untyped_storage.is_shared()

    def is_pinned(self, device="cuda"):
        return False

    def get_device(self):
        return -1

    @classmethod
    def from_buffer(cls, buffer, byte_order=None, *, dtype=None, count=-1, offset=0) -> TypedStorage:
        """A copy of the elements in any object with the buffer protocol; see `UntypedStorage.from_buffer`."""
        dtype = cls._own_dtype(dtype)
        untyped = UntypedStorage.from_buffer(buffer, byte_order, dtype=dtype, count=count, offset=offset)
        return TypedStorage(wrap_storage=untyped, dtype=dtype)

    @classmethod
    def from_file(cls, filename, shared=False, size=0, *, dtype=None) -> TypedStorage:
        """The elements of a file, which is mapped into memory; see `UntypedStorage.from_file`."""
        dtype = cls._own_dtype(dtype)
        untyped = UntypedStorage.from_file(filename, shared, size * dtype.itemsize)
        return TypedStorage(wrap_storage=untyped, dtype=dtype)

    @classmethod
    def _own_dtype(cls, dtype):
        if cls is not TypedStorage:
            return getattr(flambeau, _DTYPE_OF_CLASS[cls.__name__])
        if dtype is None:
            raise RuntimeError(f"{cls.__name__}: a dtype is required")
        return dtype

    def copy_(self, source, non_blocking=None) -> TypedStorage:
        self._tensor().copy_(source._tensor())
        return self

    def fill_(self, value) -> TypedStorage:
        self._tensor().fill_(value)
        return self

    def _like(self, untyped) -> TypedStorage:
        return TypedStorage(wrap_storage=untyped, dtype=self.dtype)

    def __len__(self) -> int:
        return self.size()

    def __iter__(self):
        return iter(self.tolist())

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self._like(self._tensor()[index].clone().untyped_storage())
        return self._tensor()[index].item()

    def __setitem__(self, index, value):
        self._tensor()[index] = value

    def __eq__(self, other):
        if not isinstance(other, TypedStorage):
            return NotImplemented
        return self.dtype is other.dtype and self._cdata == other._cdata

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        values = "\n ".join(str(value) for value in self)
        return (
            f" {values}\n[torch.storage.TypedStorage(dtype={self.dtype}, device=cpu) of size {self.size()}]"
        )

    def __copy__(self) -> TypedStorage:
        return self.clone()

    def __deepcopy__(self, memo) -> TypedStorage:
        return self._like(copy_storage(self._untyped_storage, memo))

    def __reduce__(self):
        from flambeau._tensor.pickling import is_for_a_process

        if is_for_a_process():
            return flambeau.multiprocessing.reductions.reduce_typed_storage(self)
        data = bytes(storage_bytes(self._untyped_storage))
        return _typed_storage_from_bytes, (str(self.dtype).rpartition(".")[2], data)


def _typed_storage_from_bytes(dtype_name: str, data: bytes) -> TypedStorage:
    return TypedStorage(wrap_storage=untyped_from_bytes(data), dtype=getattr(flambeau, dtype_name))


def _load_from_bytes(data: bytes):
    """What plain pickles of PyTorch's storages call: the bytes are a file of `save`. Pickles are for trusted data only."""
    import io

    return flambeau.load(io.BytesIO(data), weights_only=False)


def from_file(filename, shared=None, size=0, *, dtype=None, layout=None, device=None, pin_memory=False):
    """A tensor on the elements of a file, which is mapped into memory.

    Args:
        filename: its path.
        shared: whether writes go to the file, which is made or extended if need be; otherwise they stay private.
        size: number of elements.
        dtype: of the elements; the default dtype.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = flambeau.from_file(file.name, shared=True, size=2).fill_(3)
    ...     flambeau.from_file(file.name, size=2)
    tensor([3., 3.])
    """
    dtype = dtype or flambeau.get_default_dtype()
    storage = UntypedStorage.from_file(filename, bool(shared), size * dtype.itemsize)
    return flambeau._C.tensor_from_storage(storage, dtype, 0, (size,), (1,))


def untyped_from_bytes(data):
    """A new untyped storage with a copy of the bytes."""
    storage = UntypedStorage(len(data))
    if len(data):
        storage_bytes(storage)[:] = data
    return storage


def copy_storage(storage, memo: dict):
    """`copy.deepcopy` of an untyped storage: once per `memo`, so that what was shared stays shared."""
    copied = memo.setdefault("flambeau storages", {})
    key = storage_identity(storage)
    if key not in copied:
        # The original is kept beside its copy, lest its identity be reused while the memo lives.
        copied[key] = (storage, untyped_from_bytes(storage_bytes(storage) if storage.nbytes() else b""))
    return copied[key][1]


def _make_class(name: str, dtype: str) -> type:
    return type(
        name,
        (TypedStorage,),
        {"__doc__": f"`TypedStorage` of {dtype} elements.", "__module__": __name__, "__qualname__": name},
    )


for _name, _dtype in _DTYPE_OF_CLASS.items():
    globals()[_name] = _make_class(_name, _dtype)
__all__ += list(_DTYPE_OF_CLASS)
