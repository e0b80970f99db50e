"""The Python half of the Tensor type: printing, pickling, copying and conversions."""


def _late(module, name):
    """A method whose module is imported at the first call."""

    def method(self, *args, **kwargs):
        found = getattr(__import__(f"{__name__}.{module}", fromlist=[name]), name)
        return found(self, *args, **kwargs)

    method.__name__ = method.__qualname__ = name
    return method


def install(Tensor):
    """Add the methods that are written in Python."""
    from ..autograd import _tensor_methods

    _tensor_methods.install(Tensor)
    Tensor.__repr__ = _late("printing", "tensor_repr")
    Tensor.__format__ = _late("printing", "tensor_format")
    Tensor.__reduce_ex__ = _late("pickling", "reduce_ex")
    Tensor.__deepcopy__ = _late("pickling", "deepcopy")
