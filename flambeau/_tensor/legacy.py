"""What PyTorch kept of its first interface: ``torch.Tensor(2, 3)``, ``torch.FloatTensor`` and the like, ``Tensor.type``."""

from __future__ import annotations

import warnings

import flambeau
from flambeau import _C
from flambeau._dtypes_info import STORED_ONLY

CLASS_NAMES = {
    "float64": "Double",
    "float32": "Float",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "uint8": "Byte",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "bool": "Bool",
    "complex32": "ComplexHalf",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uint64": "UInt64",
    **{name: name[:2].upper() + name[2:] if name[0] == "u" else name.capitalize() for name in STORED_ONLY},
}


def _class_name(dtype) -> str:
    return CLASS_NAMES[str(dtype).rpartition(".")[2]] + "Tensor"


def _is_size(args) -> bool:
    return all(hasattr(a, "__index__") and not isinstance(a, (bool, flambeau.Tensor)) for a in args)


def _make(args, dtype, device, what):
    """The tensor that the old constructors make of `args`."""
    if device is not None and flambeau.device(device).type != "cpu":
        raise RuntimeError(
            f"legacy constructor expects device type: cpu but device type: {flambeau.device(device).type} was passed"
        )
    if not args:
        return flambeau.empty(0, dtype=dtype)
    first = args[0]
    if len(args) > 1 or (_is_size(args) and not hasattr(first, "dtype")):
        for i, size in enumerate(args):
            if not hasattr(size, "__index__") or isinstance(size, bool):
                raise TypeError(
                    f"new(): argument 'size' failed to unpack the object at pos {i + 1} with error \"type must be tuple "
                    f'of ints,but got {type(size).__name__}"'
                )
        return flambeau.empty(tuple(int(size) for size in args), dtype=dtype)
    if isinstance(first, flambeau.Size):
        return flambeau.empty(first, dtype=dtype)
    if isinstance(first, flambeau.UntypedStorage):
        return _C.tensor_from_storage(first, dtype, 0, (first.nbytes() // dtype.itemsize,), (1,))
    if hasattr(first, "untyped") and hasattr(first, "dtype"):
        return _make((first.untyped(),), first.dtype, device, what)
    if isinstance(first, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(first).__name__}'")
    if not hasattr(first, "__getitem__") or (hasattr(first, "ndim") and first.ndim == 0):
        raise TypeError(f"new(): data must be a sequence (got {type(first).__name__})")
    return _C.tensor_from_data(first, dtype, "cpu")


def new(cls, *args, device=None, **kwargs):
    """``torch.Tensor(...)``: sizes, a sequence of numbers, another tensor (whose memory is shared), or nothing.

    Always of the default dtype, except for a tensor given.
    """
    if "data" in kwargs or "size" in kwargs or "other" in kwargs:
        args = (*args, next(iter(kwargs.values())))
    elif kwargs:
        raise TypeError(f"new() got an unexpected keyword argument '{next(iter(kwargs))}'")
    if len(args) == 1 and isinstance(args[0], flambeau.Tensor):
        tensor = args[0]._alias()
    else:
        tensor = _make(args, flambeau.get_default_dtype(), device, "Tensor")
    return tensor if cls is flambeau.Tensor else tensor.as_subclass(cls)


def new_like(self, *args, device=None):
    """``tensor.new(...)``: as ``torch.Tensor(...)``, with the dtype of this tensor; of a sparse one, with its layout:
    ``new(indices, values, size)``."""
    if self.layout is flambeau.sparse_coo:
        return _make_sparse(args, self.dtype, device)
    if len(args) == 1 and isinstance(args[0], flambeau.Tensor):
        return _as_dtype(args[0], self.dtype)
    return _make(args, self.dtype, device, "new")


def _as_dtype(tensor, dtype):
    if tensor.dtype is not dtype:
        raise TypeError(
            f"expected a torch.{_class_name(dtype)} (got torch.{_class_name(tensor.dtype)}); use .to(dtype)"
        )
    return tensor.detach()


class tensortype(type):
    """The type of ``torch.FloatTensor`` and its relatives: they make tensors and tell them by dtype."""

    def __instancecheck__(cls, obj):
        return (
            isinstance(obj, flambeau.Tensor)
            and obj.dtype is cls.dtype
            and obj.layout is cls.layout
            and obj.device.type == "cpu"
            and not cls.is_cuda
        )

    def __call__(cls, *args, device=None):
        if cls.is_cuda:
            raise TypeError(
                f"type {cls.__module__}.{cls.__name__} not available. Torch not compiled with CUDA enabled."
            )
        if cls.is_sparse:
            return _make_sparse(args, cls.dtype, device)
        if len(args) == 1 and isinstance(args[0], flambeau.Tensor):
            return _as_dtype(args[0], cls.dtype)
        return _make(args, cls.dtype, device, cls.__name__)


def _make_sparse(args, dtype, device):
    """What ``torch.sparse.FloatTensor`` and its relatives make: of indices and values, or of sizes alone."""
    indices_and_values = len(args) in (2, 3) and all(isinstance(a, flambeau.Tensor) for a in args[:2])
    form = "indices, values, shape" if indices_and_values else "shape"
    warnings.warn(
        f"torch.sparse.SparseTensor({form}, *, device=) is deprecated.  Please use torch.sparse_coo_tensor({form}, dtype=, "
        "device=).",
        stacklevel=3,
    )
    if indices_and_values:
        return flambeau.sparse_coo_tensor(*args, dtype=dtype, device=device)
    if len(args) == 1 and isinstance(args[0], flambeau.Size):
        args = args[0]
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        raise TypeError(
            "torch.sparse.SparseTensor(sequence) only accepts sizes.  Please use torch.sparse_coo_tensor() or construct a "
            "strided tensor and convert it to sparse via to_sparse."
        )
    if not _is_size(args):
        raise TypeError(
            "new() received an invalid combination of arguments - got "
            f"({', '.join(type(a).__name__ for a in args)}), but expected indices, values and perhaps a size, or sizes"
        )
    return flambeau.sparse_coo_tensor(tuple(args) or (0,), dtype=dtype, device=device)


def _tensor_types(module, is_cuda, is_sparse=False):
    return {
        name + "Tensor": tensortype(
            name + "Tensor",
            (),
            {
                "__module__": module,
                "__doc__": f"Makes {dtype} tensors as ``torch.Tensor`` does, and is the type of those there are.",
                "dtype": getattr(flambeau, dtype),
                "is_cuda": is_cuda,
                "is_sparse": is_sparse,
                "layout": flambeau.sparse_coo if is_sparse else flambeau.strided,
            },
        )
        for dtype, name in CLASS_NAMES.items()
    }


#: torch.FloatTensor ... by name.
types = _tensor_types("torch", False)
globals().update(types)
#: torch.cuda.FloatTensor ...: they exist for isinstance, and make nothing.
cuda_types = _tensor_types("torch.cuda", True)
#: torch.sparse.FloatTensor ... by name, and those of CUDA's.
sparse_types = _tensor_types("torch.sparse", False, True)
sparse_cuda_types = _tensor_types("torch.cuda.sparse", True, True)


def _dtype_of_name(name: str):
    path, _, last = name.rpartition(".")
    if path == "torch.cuda" and last in cuda_types:
        raise RuntimeError(f"Cannot initialize CUDA: {name} needs a device that is not there")
    if path != "torch" or last not in types:
        raise ValueError(f"invalid type: '{name}'")
    return types[last].dtype


def type_(self, dtype=None, non_blocking=False, **kwargs):
    """The tensor's type as a string such as ``'torch.FloatTensor'``; with `dtype` (a dtype, such a string, or such a
    type), the tensor converted to it.

    >>> flambeau.ones(1).type()
    'torch.FloatTensor'
    """
    if dtype is None:
        place = "" if self.device.type == "cpu" else self.device.type + "."
        if self.layout is not flambeau.strided:
            place += "sparse." if self.is_sparse else "sparse_csr."
        return f"torch.{place}{_class_name(self.dtype)}"
    if isinstance(dtype, str):
        dtype = _dtype_of_name(dtype)
    elif isinstance(dtype, tensortype):
        dtype = _dtype_of_name(f"{dtype.__module__}.{dtype.__name__}")
    elif not isinstance(dtype, flambeau.dtype) and dtype not in (float, int, bool, complex):
        raise TypeError("dtype must be a type, str, or dtype object")
    return self.to(dtype, non_blocking)


def set_default_tensor_type(t) -> None:
    """Make new floating tensors of a type's dtype: `set_default_dtype` in its first form.

    >>> flambeau.set_default_tensor_type("torch.FloatTensor")
    """
    kind = (
        t
        if not isinstance(t, str)
        else (cuda_types if t.startswith("torch.cuda.") else types).get(t.rpartition(".")[2])
    )
    if isinstance(t, str) and kind is None:
        raise TypeError(f"invalid type object: {t}")
    if not isinstance(kind, tensortype):
        raise TypeError(
            f"invalid type object: only floating-point types are supported as the default type, got {t!r}"
        )
    if kind.is_cuda:
        raise TypeError(
            f"type torch.cuda.{kind.__name__} not available. Torch not compiled with CUDA enabled."
        )
    flambeau.set_default_dtype(kind.dtype)
