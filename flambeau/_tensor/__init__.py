"""The Python half of the Tensor type: printing, pickling, copying and conversions."""

import copyreg

from flambeau import _C


def _late(module, name):
    """A method whose module is imported at the first call."""

    found = None

    def method(self, *args, **kwargs):
        nonlocal found
        if found is None:
            found = getattr(__import__(f"{__name__}.{module}", fromlist=[name]), name)
        return found(self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    return method


# Plain pickles of the small native types. The types call their module torch, where a pickle must not look for them.


def _named(name):
    return getattr(_C, name)


def _constructed(name, value):
    return getattr(_C, name)(value)


def _reduce_named(obj):
    return _named, (str(obj).rpartition(".")[2],)


def _reduce_storage(storage):
    from flambeau.storage import storage_bytes, untyped_from_bytes

    return untyped_from_bytes, (bytes(storage_bytes(storage)) if storage.nbytes() else b"",)


def install(Tensor):
    """Add the methods that are written in Python."""
    from ..autograd import _tensor_methods
    from . import methods, properties

    _tensor_methods.install(Tensor)
    properties.install(Tensor)
    methods.install(Tensor)
    for name in ("numpy", "array", "array_wrap"):
        setattr(Tensor, name if name == "numpy" else f"__{name}__", _late("interop", name))
    for name in ("__dlpack__", "__dlpack_device__"):
        setattr(Tensor, name, _late("dlpack", name.strip("_")))
    Tensor.__array_priority__ = 1000  # NumPy leaves mixed arithmetic to the tensor
    Tensor.type = _late("legacy", "type_")
    Tensor.new = _late("legacy", "new_like")
    Tensor.__repr__ = _late("printing", "tensor_repr")
    Tensor.__format__ = _late("printing", "tensor_format")
    Tensor.__reduce_ex__ = _late("pickling", "reduce_ex")
    Tensor.__deepcopy__ = _late("pickling", "deepcopy")
    for kind in (_C.dtype, _C.layout, _C.memory_format):
        copyreg.pickle(kind, _reduce_named)
    copyreg.pickle(_C.device, lambda device: (_constructed, ("device", str(device))))
    copyreg.pickle(_C.Size, lambda size: (_constructed, ("Size", tuple(size))))
    copyreg.pickle(_C.UntypedStorage, _reduce_storage)
