"""The Python half of the Tensor type: printing, pickling, copying and conversions."""

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
    plain_pickles.install()
