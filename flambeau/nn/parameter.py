"""Tensors with a role in a module: parameters, buffers, and their uninitialized forms for lazy modules."""

from collections import OrderedDict

import flambeau

__all__ = [
    "Parameter",
    "UninitializedParameter",
    "is_lazy",
    "Buffer",
    "UninitializedBuffer",
    "UninitializedTensorMixin",
]


class _ParameterMeta(type(flambeau.Tensor)):
    """Lets a tensor subclass that was wrapped in place pass `isinstance(x, Parameter)`."""

    def __instancecheck__(self, instance):
        if (
            self is Parameter
            and getattr(instance, "_is_param", False)
            and isinstance(instance, flambeau.Tensor)
        ):
            return True
        return super().__instancecheck__(instance)


class Parameter(flambeau.Tensor, metaclass=_ParameterMeta):
    """A tensor that a :class:`Module` takes for one of its parameters when it is assigned as an attribute.

    Args:
        data: the values (any shape); shares their memory. None gives an empty tensor.
        requires_grad: whether gradients are accumulated in ``.grad``. Default: True. Needs a floating point or
            complex dtype.

    >>> nn.Parameter(flambeau.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    # What operators make of a parameter is a plain tensor.
    __torch_function__ = flambeau._C._disabled_torch_function_impl

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = flambeau.empty(0)
        if type(data) is flambeau.Tensor or type(data) is Parameter:
            return flambeau.Tensor._make_subclass(cls, data, requires_grad)

        # A subclass keeps its own type: it is marked instead of converted.
        param = data.detach().requires_grad_(requires_grad)
        if type(param) is not type(data):
            raise RuntimeError(
                f"Creating a Parameter from an instance of type {type(data).__name__} requires that detach() "
                f"returns an instance of the same type, but got {type(param).__name__} instead"
            )
        param._is_param = True
        return param

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.data.clone(memory_format=flambeau.preserve_format), self.requires_grad)
        memo[id(self)] = result
        return result

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, proto):
        from .._utils import _rebuild_parameter, _rebuild_parameter_with_state

        # Hooks are not saved; the empty dictionary keeps the place they have in PyTorch's files.
        hooks = OrderedDict()
        state = {k: v for k, v in self.__dict__.items() if k != "_is_param"}
        if not state:
            return _rebuild_parameter, (self.data, self.requires_grad, hooks)
        return _rebuild_parameter_with_state, (self.data, self.requires_grad, hooks, state)


flambeau._C._set_parameter_type(Parameter)


class _BufferMeta(type(flambeau.Tensor)):
    """A buffer is marked in place, so that it stays an ordinary tensor for everybody else."""

    def __instancecheck__(self, instance):
        if (
            self is Buffer
            and getattr(instance, "_is_buffer", False)
            and isinstance(instance, flambeau.Tensor)
        ):
            return True
        return super().__instancecheck__(instance)


class Buffer(flambeau.Tensor, metaclass=_BufferMeta):
    """A tensor that a :class:`Module` registers as a buffer when it is assigned as an attribute.

    Args:
        data: the values. None gives an empty tensor.
        persistent: whether the buffer is part of the module's ``state_dict``. Default: True.
    """

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = flambeau.empty(0)
        buffer = data.detach().requires_grad_(data.requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer


_UNINITIALIZED = (
    "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
    "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. "
    "Call `forward` to initialize the parameters before accessing their attributes."
)


class UninitializedTensorMixin:
    """Behaviour of a tensor whose shape is not known yet: it can be moved and named, not computed with."""

    _allowed_functions = frozenset(
        {
            "__get__",
            "__set__",
            "__hash__",
            "size",
            "copy_",
            "is_complex",
            "is_floating_point",
            "half",
            "float",
            "double",
            "char",
            "short",
            "int",
            "long",
            "cuda",
            "cpu",
            "to",
            "get_device",
            "_has_compatible_shallow_copy_type",
        }
    )

    def materialize(self, shape, device=None, dtype=None):
        """Become an ordinary parameter or buffer of `shape`, with uninitialized values."""
        if device is None:
            device = self.data.device
        if dtype is None:
            dtype = self.data.dtype
        self.data = flambeau.empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self):
        raise RuntimeError(_UNINITIALIZED)

    def share_memory_(self):
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. "
            "Call `forward` to initialize the parameters before calling `module.share_memory()`."
        )

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, proto):
        return type(self), (self.requires_grad,)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        # Attribute access arrives as a slot wrapper named after the accessor; everything else is an operator.
        name = getattr(func, "__name__", "")
        if name in cls._allowed_functions:
            return super().__torch_function__(func, types, args, kwargs or {})
        raise ValueError(
            f"Attempted to use an uninitialized parameter in {func}. This error happens when you are using a "
            "`LazyModule` or explicitly manipulating `flambeau.nn.parameter.UninitializedParameter` objects. When "
            "using LazyModules Call `forward` with a dummy batch to initialize the parameters before calling "
            "torch functions"
        )


def _needs_a_shape(name):
    def method(self, *args, **kwargs):
        raise ValueError(
            f"Attempted to use an uninitialized parameter in Tensor.{name}. Call `forward` of its module with a dummy batch "
            "to initialize the parameters before calling torch functions"
        )

    method.__name__ = name
    return method


# These answer natively, without asking __torch_function__.
for _name in ("numel", "nelement", "dim", "ndimension", "stride", "item", "tolist", "storage_offset"):
    setattr(UninitializedTensorMixin, _name, _needs_a_shape(_name))


def is_lazy(param):
    """True for a parameter or buffer whose shape is not known yet."""
    return isinstance(param, UninitializedTensorMixin)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter without shape, filled in by :meth:`materialize` (lazy modules do it on their first call)."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        data = flambeau.empty(0, device=device, dtype=dtype)
        return flambeau.Tensor._make_subclass(cls, data, requires_grad)

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        result = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        memo[id(self)] = result
        return result


class UninitializedBuffer(UninitializedTensorMixin, flambeau.Tensor):
    """A buffer without shape, filled in by :meth:`materialize`."""

    cls_to_become = flambeau.Tensor

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        data = flambeau.empty(0, device=device, dtype=dtype)
        buffer = flambeau.Tensor._make_subclass(cls, data, requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer
