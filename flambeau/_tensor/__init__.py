"""The Python half of the Tensor type: printing, pickling, copying and conversions."""

from flambeau import _C
from flambeau._utils import _rebuild_from_type_v2

from . import plain_pickles


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
    for name in _SPARSE_METHODS:
        setattr(Tensor, name, _late("sparse_methods", name))
    plain_pickles.install()
    _install_storage_methods(_C.UntypedStorage)


_SPARSE_METHODS = (
    "_coalesced_ _indices _nnz _values ccol_indices coalesce col_indices crow_indices dense_dim indices is_coalesced "
    "resize_as_sparse_ row_indices smm sparse_dim sparse_mask sparse_resize_ sparse_resize_and_clear_ sspaddmm to_dense "
    "to_sparse to_sparse_bsc to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr values"
).split()
_STORAGE_METHODS = (
    "clone tolist copy_ fill_ untyped cpu to cuda element_size get_device is_pinned new byteswap".split()
)
_STORAGE_CONVERSIONS = (
    "bfloat16 bool byte char complex_double complex_float double float half int long short".split()
)
_STORAGE_SPECIALS = {"type": "type_", "__repr__": "repr_", "__copy__": "copy_of", "__deepcopy__": "deepcopy"}


def _install_storage_methods(UntypedStorage):
    for name in _STORAGE_METHODS:
        setattr(UntypedStorage, name, _late("storage_methods", name))
    for name in _STORAGE_CONVERSIONS:
        setattr(UntypedStorage, name, _late("storage_methods", f"to_{name}"))
    for name, own in _STORAGE_SPECIALS.items():
        setattr(UntypedStorage, name, _late("storage_methods", own))
    for name in ("from_file", "from_buffer", "_new_shared"):
        setattr(UntypedStorage, name, classmethod(_late("storage_methods", name)))
