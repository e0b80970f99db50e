"""Parameters that are computed from others: any function of a tensor in the place of a module's parameter or buffer."""

import copy
from collections.abc import Sequence
from contextlib import contextmanager

import flambeau

from ..modules.container import ModuleDict, ModuleList
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_cache_enabled = 0
_cache = {}


@contextmanager
def cached():
    """Inside, every parametrized tensor is computed once, however often it is read; outermost exit forgets the values.

    >>> from flambeau.nn.utils import parametrize
    >>> m = parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> with parametrize.cached():
    ...     m.weight is m.weight
    True
    """
    global _cache_enabled, _cache
    _cache_enabled += 1
    try:
        yield
    finally:
        _cache_enabled -= 1
        if not _cache_enabled:
            _cache = {}


def _maybe_parameter(tensor, like):
    return Parameter(tensor, requires_grad=like.requires_grad) if isinstance(like, Parameter) else tensor


def _require_tensors(value):
    """Complain unless `value` is a tensor or a sequence of tensors: what a `right_inverse` may return."""
    if isinstance(value, flambeau.Tensor):
        return
    rule = "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...)."
    if not isinstance(value, Sequence):
        raise ValueError(f"{rule} Got {type(value).__name__}")
    for i, item in enumerate(value):
        if not isinstance(item, flambeau.Tensor):
            raise ValueError(f"{rule} Got element {i} of the sequence with type {type(item).__name__}.")


def _set(tensor, value):
    """Let `tensor`, which optimizers may hold, take over the memory of `value`."""
    with flambeau.no_grad():
        tensor.set_(value.detach() if value.device == tensor.device else value.detach().to(tensor.device))


class ParametrizationList(ModuleList):
    """The functions that a tensor goes through, in their order, and the tensor or tensors they start from.

    Those are ``original``, or ``original0``, ``original1``, ... where the first function's `right_inverse` returned a
    sequence. Users get one from :func:`register_parametrization` as ``module.parametrizations.<name>``.
    """

    def __init__(self, modules, original, unsafe=False):
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with flambeau.no_grad():
            new = self._inverse(original)
        _require_tensors(new)
        self.is_tensor = isinstance(new, flambeau.Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            if original.dtype != new.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            if original.device != new.device:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the device.\n"
                    f"original.device: {original.device}\nright_inverse(original).device: {new.device}"
                )
            if new is not original:
                _set(original, new)
            _register(self, "original", original)
        else:
            for i, tensor in enumerate(new):
                _register(self, f"original{i}", _maybe_parameter(tensor, original))
        if not unsafe:
            self._check_consistency(shape, dtype)

    def _inverse(self, value):
        """`value` through the inverses, last function first; functions without one pass it on."""
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                try:
                    value = module.right_inverse(value)
                except NotImplementedError:
                    pass
        return value

    def _check_consistency(self, shape, dtype):
        result = self()
        if not isinstance(result, flambeau.Tensor):
            raise ValueError(f"A parametrization must return a tensor. Got {type(result).__name__}.")
        if result.dtype != dtype:
            raise ValueError(
                "Registering a parametrization may not change the dtype of the tensor, unless `unsafe` flag is "
                f"enabled.\nunparametrized dtype: {dtype}\nparametrized dtype: {result.dtype}"
            )
        if result.shape != shape:
            raise ValueError(
                "Registering a parametrization may not change the shape of the tensor, unless `unsafe` flag is "
                f"enabled.\nunparametrized shape: {shape}\nparametrized shape: {result.shape}"
            )

    def _originals(self):
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value):
        """Set the originals to what the functions' inverses make of `value`, last function first."""
        with flambeau.no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
            if self.is_tensor:
                if not isinstance(value, flambeau.Tensor):
                    raise ValueError(f"`right_inverse` should return a tensor. Got {type(value).__name__}")
                if value.dtype != self.original.dtype:
                    raise ValueError(
                        f"The tensor returned by `right_inverse` has dtype {value.dtype} while `original` has dtype "
                        f"{self.original.dtype}"
                    )
                _set(self.original, value)
                return
            if not isinstance(value, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {type(value)}.")
            if len(value) != self.ntensors:
                raise ValueError(
                    "'right_inverse' must return a sequence of tensors of length "
                    f"{self.ntensors}. Got a sequence of length {len(value)}."
                )
            for i, (tensor, original) in enumerate(zip(value, self._originals(), strict=True)):
                if not isinstance(tensor, flambeau.Tensor):
                    raise ValueError(f"`right_inverse` must return a sequence of tensors. Got element {i} of "
                                     f"type {type(tensor).__name__}")  # fmt: skip
                if original.dtype != tensor.dtype:
                    raise ValueError(
                        f"Tensor {i} returned by `right_inverse` has dtype {tensor.dtype} while `original{i}` has dtype "
                        f"{original.dtype}"
                    )
                _set(original, tensor)

    def forward(self):
        """The tensor that the functions make of the originals."""
        first, *others = self
        value = first(*self._originals())
        for module in others:
            value = module(value)
        return value


def _register(module, name, tensor):
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


# ---- classes whose attributes are computed -----------------------------------------------------------------------------


def _getstate(self):
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(): save state_dict(), and load it "
        "into a module made and parametrized alike."
    )


def _deepcopy(self, memo):
    if id(self) in memo:
        return memo[id(self)]
    copied = self.__new__(type(self))
    memo[id(self)] = copied
    copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
    return copied


def _inject_class(module):
    """Give the module a class of its own, a child of its class, to hold the properties."""
    cls = type(module)
    namespace = {"__getstate__": _getstate}
    if not hasattr(cls, "__deepcopy__"):
        namespace["__deepcopy__"] = _deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), namespace)


def _inject_property(module, name):
    def get(self):
        chain = self.parametrizations[name]
        if not _cache_enabled:
            return chain()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = chain()
        return _cache[key]

    def set_(self, value):
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, set_))


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """Compute ``module.tensor_name`` by the module `parametrization` from now on; returns `module`.

    Args:
        module: the owner of the parameter or buffer.
        tensor_name: its name.
        parametrization: a module that takes the tensor and returns the one to be seen. Where it has a method
            `right_inverse`, that gives the tensor (or a sequence of tensors) to start from, and allows assignment.
        unsafe: skip the check that shape and dtype stay. Default: False.

    More than one may be registered; each gets the result of the one before, and only the first changes the original,
    which lives in ``module.parametrizations.<tensor_name>.original``.

    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> m = nn.utils.parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((m.weight == m.weight.mT).all())
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        chain = module.parametrizations[tensor_name]
        if not unsafe:
            _check_added(module, tensor_name, parametrization)
        chain.append(parametrization)
        chain.unsafe |= unsafe
        return module
    if tensor_name not in module._buffers and tensor_name not in module._parameters:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'"
        )
    original = getattr(module, tensor_name)
    # The list is made first: it raises what there is to raise before the module is touched.
    chain = ParametrizationList([parametrization], original, unsafe=unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _inject_class(module)
        module.parametrizations = ModuleDict()
    _inject_property(module, tensor_name)
    module.parametrizations[tensor_name] = chain
    return module


def _check_added(module, name, parametrization):
    """A further parametrization has to keep shape and dtype of the tensor, forward and back."""
    tensor = getattr(module, name)
    result = parametrization(tensor)
    if not isinstance(result, flambeau.Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(result).__name__}.")
    for what in ("dtype", "shape"):
        before, after = getattr(tensor, what), getattr(result, what)
        if before != after:
            raise ValueError(
                f"Registering a parametrization may not change the {what} of the tensor, unless the `unsafe` flag is "
                f"enabled.\nmodule.{name}.{what}: {before}\nparametrization(module.{name}).{what}: {after}"
            )
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        start = parametrization.right_inverse(result)
    except NotImplementedError:
        return
    if not isinstance(start, flambeau.Tensor):
        raise ValueError(f"parametrization.right_inverse must return a tensor. Got: {type(start).__name__}")
    for what in ("dtype", "shape"):
        if getattr(start, what) != getattr(tensor, what):
            raise ValueError(
                f"The tensor returned by parametrization.right_inverse must have the same {what} as module.{name}, "
                f"unless the `unsafe` flag is enabled.\nmodule.{name}.{what}: {getattr(tensor, what)}\n"
                f"returned {what}: {getattr(start, what)}"
            )


def is_parametrized(module, tensor_name=None):
    """Whether anything of the module, or its `tensor_name`, is parametrized."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """Make ``module.tensor_name`` an ordinary parameter or buffer again; returns `module`.

    Args:
        leave_parametrized: keep the computed value (default), or go back to the original tensor, which needs
            parametrizations that start from one tensor.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    chain = module.parametrizations[tensor_name]
    if chain.is_tensor:
        tensor = chain.original
        if leave_parametrized:
            with flambeau.no_grad():
                value = getattr(module, tensor_name)
            if type(tensor) not in (Parameter, flambeau.Tensor) and value.shape != tensor.shape:
                raise RuntimeError(
                    "leave_parametrized=True is only supported for plain tensors and parameters: this is a "
                    f"{type(tensor).__name__}"
                )
            _set(tensor, value)
    elif leave_parametrized:
        with flambeau.no_grad():
            value = getattr(module, tensor_name)
        wanted = any(original.requires_grad for original in chain._originals())
        tensor = Parameter(value) if wanted else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, tensor)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module):
    """The class that the module had before it was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module, to_module, tensor_name=None):
    """Give `to_module` the parametrizations of `from_module`, and its originals; returns `to_module`.

    Args:
        tensor_name: only those of this tensor. Default: of all. The tensor's own value in `to_module` is lost.
    """
    if not is_parametrized(from_module):
        return to_module
    if tensor_name is None:
        names = list(from_module.parametrizations)
    else:
        from_module.parametrizations[tensor_name]  # a KeyError, if that is not parametrized
        names = [tensor_name]
    for name in names:
        chain = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        for parametrization in chain:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        names_of = ["original"] if chain.is_tensor else [f"original{i}" for i in range(chain.ntensors)]
        for original in names_of:
            if hasattr(target, original):
                setattr(target, original, getattr(chain, original))
            else:
                _register(target, original, getattr(chain, original))
    return to_module
