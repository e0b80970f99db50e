"""Small methods of Tensor that are compositions, and the questions about objects that belong to them."""

from __future__ import annotations

import flambeau
from flambeau import _C

Tensor = _C.Tensor


def is_tensor(obj) -> bool:
    """Whether `obj` is a tensor.

    >>> flambeau.is_tensor(flambeau.ones(1))
    True
    """
    return isinstance(obj, Tensor)


def is_storage(obj) -> bool:
    """Whether `obj` is a storage, typed or not."""
    return isinstance(obj, _C.UntypedStorage) or isinstance(obj, flambeau.TypedStorage)


def typename(obj) -> str:
    """A tensor's `Tensor.type`; for other objects the name of their type, with its module.

    >>> flambeau.typename(flambeau.ones(1))
    'torch.FloatTensor'
    """
    if isinstance(obj, Tensor):
        return obj.type()
    module = getattr(obj, "__module__", "") or ""
    if hasattr(obj, "__qualname__"):
        name = obj.__qualname__
    elif hasattr(obj, "__name__"):
        name = obj.__name__
    else:
        module = type(obj).__module__ or ""
        name = type(obj).__qualname__
    return name if module in ("", "builtins") else f"{module}.{name}"


def __contains__(self, element):
    if isinstance(element, (Tensor, int, float, complex)) or hasattr(element, "__index__"):
        return bool((self == element).any())
    raise RuntimeError(
        f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}."
    )


def __reversed__(self):
    return self if self.dim() == 0 else self.flip(0)


def __setstate__(self, state):
    if not self.is_leaf:
        raise RuntimeError("__setstate__ can be only called on leaf Tensors")
    if len(state) == 4:  # of PyTorch's first format
        self.set_(*state)
        return
    if len(state) == 5:
        self.set_(*state[:4])
        state = (*state[3:], {})
    self.requires_grad, _, self._backward_hooks = state


def apply_(self, function):
    """Replaces each element by ``function(element)``, one call each."""
    return _call_elementwise("apply_", function, self)


def map_(self, other, function):
    """Replaces each element by ``function(element, element of other)``."""
    return _call_elementwise("map_", function, self, other)


def map2_(self, x, y, function):
    """Replaces each element by ``function(element, element of x, element of y)``."""
    return _call_elementwise("map2_", function, self, x, y)


def _call_elementwise(name, function, self, *others):
    if self.requires_grad:
        raise RuntimeError(
            f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
        )
    for other in others:
        if other.dtype is not self.dtype:
            raise TypeError(f"{name}: expected {self.type()} for 'other' (got {other.type()})")
        if other.requires_grad:
            raise RuntimeError(f"Can't call {name}() on Variable that requires grad.")
    if self.device.type != "cpu":
        raise TypeError(f"{name} is only implemented on CPU tensors")
    lists = [t.expand(self.shape).reshape(-1).tolist() for t in (self, *others)]
    values = [function(*items) for items in zip(*lists, strict=True)]
    return self.copy_(flambeau.tensor(values, dtype=self.dtype).reshape(self.shape))


def cuda(self, device=None, non_blocking=False, memory_format=None):
    """AssertionError: there is no CUDA device."""
    return self.to("cuda")


def xpu(self, device=None, non_blocking=False, memory_format=None):
    """AssertionError: there is no XPU device."""
    raise AssertionError("Torch not compiled with XPU enabled")


def pin_memory(self, device=None):
    """RuntimeError: memory is pinned for an accelerator, and there is none."""
    raise RuntimeError("Cannot access accelerator device when none is available.")


def storage(self):
    """The memory under the tensor as a `TypedStorage` of its dtype."""
    return flambeau.TypedStorage(wrap_storage=self.untyped_storage(), dtype=self.dtype)


def storage_type(self):
    """The class of `storage`, by the tensor's dtype: `flambeau.FloatStorage` and the like.

    >>> flambeau.ones(2).storage_type()
    <class 'torch.FloatStorage'>
    """
    return getattr(flambeau, self.storage().pickle_storage_type())


def const_data_ptr(self) -> int:
    """`data_ptr`, of memory that the caller only reads."""
    return self.data_ptr()


def _volatile(self) -> bool:
    """False: what was volatile runs inside `no_grad` now."""
    import warnings

    warnings.warn("volatile was removed (Variable.volatile is always False)", stacklevel=2)
    return False


def _name(self) -> None:
    """None: tensors have no names."""
    return None


def share_memory_(self):
    """Moves the tensor's memory to where processes forked from this one see it too, and returns the tensor."""
    self.untyped_storage().share_memory_()
    return self


def is_shared(self) -> bool:
    """Whether other processes see the tensor's memory."""
    return self.untyped_storage().is_shared()


def module_load(self, other, assign=False):
    """How `Module.load_state_dict` puts `other` into a parameter or buffer: a copy, or `other` itself."""
    return other.detach() if assign else self.copy_(other).detach()


def resize(self, *sizes):
    """The elements in another shape, in memory of their own when they must move. Old form of `reshape`."""
    return self.reshape(*sizes)


def resize_as(self, tensor):
    """`resize` to the shape of another tensor."""
    return self.reshape(tensor.shape)


def reinforce(self, *args, **kwargs):
    raise RuntimeError("reinforce() was removed: use torch.distributions and its log_prob")


def dim_order(self, *, ambiguity_check=False):
    """The dimensions from the outermost in memory to the innermost.

    >>> flambeau.empty(2, 3).t().dim_order()
    (1, 0)
    """
    strides = self.stride()
    return tuple(sorted(range(self.dim()), key=lambda d: (-strides[d], d)))


def is_distributed(self) -> bool:
    """False: the tensor is whole."""
    return False


def install(Tensor):
    for function in (
        __contains__,
        __reversed__,
        __setstate__,
        apply_,
        map_,
        map2_,
        cuda,
        xpu,
        pin_memory,
        storage,
        storage_type,
        const_data_ptr,
        share_memory_,
        is_shared,
        module_load,
        resize,
        resize_as,
        reinforce,
        dim_order,
        is_distributed,
    ):
        setattr(Tensor, function.__name__, function)
    Tensor._typed_storage = storage
    Tensor.volatile, Tensor.name = property(_volatile), property(_name)
