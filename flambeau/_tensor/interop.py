"""Exchange with NumPy and other array libraries: the half that is written in Python."""

from __future__ import annotations

import flambeau
from flambeau import _C


def _numpy():
    try:
        import numpy
    except ImportError as error:
        raise ImportError(
            "Tensor.numpy() needs NumPy, which is not installed: pip install numpy (or flambeau[numpy])"
        ) from error
    return numpy


def numpy(self, *, force=False):
    """The tensor as a NumPy array that shares its memory.

    Args:
        force: detach, and copy where sharing is impossible, rather than raise.

    Raises RuntimeError for a tensor that requires grad, TypeError for dtypes and devices that NumPy doesn't know.

    >>> flambeau.arange(3).numpy()
    array([0, 1, 2])
    """
    if force:
        self = self.detach().cpu()
    if self.device.type != "cpu":
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )
    if self.layout is not flambeau.strided:
        raise TypeError(f"can't convert {self.layout} layout tensor to numpy. Use Tensor.to_dense() first.")
    if self.requires_grad:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    _C._numpy_code(self.dtype)  # refuses dtypes that NumPy lacks
    # By way of a memoryview, which claims the memory: while the array lives, the storage refuses to be resized.
    return _numpy().asarray(memoryview(self))


def array(self, dtype=None, copy=None):
    """``numpy.asarray(tensor)``."""
    shared = self.numpy()
    if dtype is not None and shared.dtype != dtype:
        if copy is False:
            raise ValueError(f"a tensor of {self.dtype} cannot become an array of {dtype} without a copy")
        return shared.astype(dtype)
    return shared.copy() if copy else shared


def array_wrap(self, array, context=None, return_scalar=False):
    """What NumPy's functions return when they were given tensors."""
    if not hasattr(array, "dtype"):
        return array
    if array.dtype == bool:
        array = array.astype("uint8")  # as PyTorch, which knew no bool when this began
    if not hasattr(array, "__array_interface__") or array.ndim == 0:
        return flambeau.tensor(array)
    return flambeau.from_numpy(array)


def _is_array(obj) -> bool:
    return any(kind.__module__ == "numpy" and kind.__name__ == "ndarray" for kind in type(obj).__mro__)


def _shared(obj, dtype):
    """A tensor on the memory of `obj`, or None where it has none to share."""
    if isinstance(obj, flambeau.Tensor):
        return obj
    if _is_array(obj):
        return flambeau.from_numpy(obj)
    if isinstance(obj, flambeau.UntypedStorage):
        dtype = flambeau.get_default_dtype() if dtype is None else dtype
        return flambeau._C.tensor_from_storage(obj, dtype, 0, (obj.nbytes() // dtype.itemsize,), (1,))
    if type(obj).__module__ == "numpy":
        return None
    if hasattr(obj, "__dlpack__"):
        return flambeau.from_dlpack(obj)
    try:
        memoryview(obj).release()
    except TypeError:
        return None
    return flambeau.frombuffer(obj, dtype=flambeau.get_default_dtype() if dtype is None else dtype)


def asarray(obj, dtype, device, copy, requires_grad):
    """`flambeau.asarray`."""
    tensor = _shared(obj, dtype)
    if tensor is None:
        if copy is False:
            raise ValueError(
                f"asarray(): can't alias arbitrary sequence into a tensor ({type(obj).__name__})."
            )
        return flambeau.tensor(obj, dtype=dtype, device=device, requires_grad=requires_grad)
    wanted = tensor.device if device is None else flambeau.device(device)
    if copy is False and wanted.type != tensor.device.type:
        raise ValueError(f"asarray(): can't alias tensor from device '{tensor.device}' to '{wanted}'.")
    if copy is False and dtype not in (None, tensor.dtype):
        raise ValueError(f"asarray(): can't alias tensor with dtype '{tensor.dtype}' into dtype '{dtype}'.")
    result = tensor.to(device=wanted, dtype=dtype, copy=bool(copy))
    if not requires_grad:
        return result.detach() if result.requires_grad else result
    if result.requires_grad:
        return result
    return result.requires_grad_()
