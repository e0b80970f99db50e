"""Objects that bring their own meaning of the library's functions, by ``__torch_function__``."""

from __future__ import annotations

import flambeau

from ._overridable import (
    get_ignored_functions,
    get_overridable_functions,
    get_testing_overrides,
    is_tensor_method_or_property,
    resolve_name,
)

__all__ = [
    "BaseTorchFunctionMode",
    "TorchFunctionMode",
    "get_ignored_functions",
    "get_overridable_functions",
    "get_testing_overrides",
    "handle_torch_function",
    "has_torch_function",
    "has_torch_function_unary",
    "has_torch_function_variadic",
    "is_tensor_like",
    "is_tensor_method_or_property",
    "resolve_name",
    "wrap_torch_function",
]


def _overrides(value) -> bool:
    kind = type(value)
    if kind is flambeau.Tensor:
        return False
    method = getattr(kind, "__torch_function__", None)
    if method is None or getattr(method, "__func__", method) is _disabled_torch_function_impl:
        return False
    default = getattr(flambeau.Tensor, "__torch_function__", None)
    # Parameters and plain subclasses inherit the default, which changes nothing.
    return default is None or getattr(method, "__func__", method) is not getattr(default, "__func__", default)


def _disabled_torch_function_impl(func, types, args=(), kwargs=None):
    """As a class's ``__torch_function__``: the class's objects are ordinary tensors to every function."""
    return func(*args, **(kwargs or {}))


def has_torch_function(relevant_args) -> bool:
    """Whether any of the arguments brings its own ``__torch_function__``."""
    return any(_overrides(arg) for arg in relevant_args)


def has_torch_function_unary(arg) -> bool:
    """`has_torch_function` of one argument."""
    return _overrides(arg)


def has_torch_function_variadic(*args) -> bool:
    """`has_torch_function` of arguments given one by one."""
    return has_torch_function(args)


def is_tensor_like(inp) -> bool:
    """Whether the object is a tensor or has ``__torch_function__``."""
    return isinstance(inp, flambeau.Tensor) or hasattr(type(inp), "__torch_function__")


def _overloaded_args(relevant_args) -> list:
    """One argument per type with an override; a subclass before its bases, else from left to right."""
    found: list = []
    for arg in relevant_args:
        if not _overrides(arg) or any(type(arg) is type(other) for other in found):
            continue
        place = next((i for i, other in enumerate(found) if issubclass(type(arg), type(other))), len(found))
        found.insert(place, arg)
    return found


def handle_torch_function(public_api, relevant_args, *args, **kwargs):
    """Call the overrides of a function until one answers.

    Args:
        public_api: the function as users know it.
        relevant_args: its arguments that may have an override.
        args, kwargs: all its arguments.

    Raises:
        TypeError: every override returned `NotImplemented`.
    """
    overloaded = _overloaded_args(relevant_args)
    types = tuple(type(arg) for arg in overloaded)
    for arg in overloaded:
        result = type(arg).__torch_function__(public_api, types, args, kwargs)
        if result is not NotImplemented:
            return result
    name = f"{public_api.__module__}.{public_api.__name__}"
    raise TypeError(
        f"no implementation found for '{name}' on types that implement __torch_function__: {[kind for kind in types]}"
    )


class TorchFunctionMode:
    """Context manager inside which operators of this thread go through `__torch_function__`.

    A subclass gives `__torch_function__(self, func, types, args=(), kwargs=None)`; calling `func` goes on, outside this
    mode. It sees the native operators, which functions composed of others call one by one.

    >>> class Names(flambeau.overrides.TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         print(func.__name__)
    ...         return func(*args, **(kwargs or {}))
    >>> with Names():
    ...     y = flambeau.ones(2) * 2
    ones
    mul
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError(f"{type(self).__name__} has no __torch_function__")

    def _answer(self, op, args, kwargs):
        return self.__torch_function__(op, (), args, kwargs)

    def __enter__(self):
        flambeau._C._push_mode(self._answer)
        return self

    def __exit__(self, *exc):
        flambeau._C._pop_mode()


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that changes nothing."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def wrap_torch_function(dispatcher):
    """Decorator: give a function of tensors the override protocol.

    Args:
        dispatcher: takes the function's arguments, and returns those that may have an override.
    """
    import functools

    def decorate(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return wrapped

    return decorate
