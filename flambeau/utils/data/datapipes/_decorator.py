"""Decorators of data pipes: naming a step, declaring one that is not deterministic, checks of types."""

from __future__ import annotations

import functools
import inspect

from .datapipe import IterDataPipe, MapDataPipe

__all__ = [
    "argument_validation",
    "functional_datapipe",
    "guaranteed_datapipes_determinism",
    "non_deterministic",
    "runtime_validation",
    "runtime_validation_disabled",
]


class functional_datapipe:
    """Makes the decorated class a method of all pipes of its kind: ``pipe.name(...)``.

    >>> from flambeau.utils.data import IterDataPipe, functional_datapipe
    >>> @functional_datapipe("twice_for_docs")
    ... class Twice(IterDataPipe):
    ...     def __init__(self, source):
    ...         self.source = source
    ...
    ...     def __iter__(self):
    ...         for x in self.source:
    ...             yield 2 * x
    >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
    >>> list(IterableWrapper([1, 2]).twice_for_docs())
    [2, 4]
    """

    def __init__(self, name, enable_df_api_tracing=False):
        self.name = name
        self.enable_df_api_tracing = enable_df_api_tracing

    def __call__(self, cls):
        if not isinstance(cls, type):
            raise TypeError("`functional_datapipe` can only decorate IterDataPipe or MapDataPipe")
        for kind in (IterDataPipe, MapDataPipe):
            if issubclass(cls, kind):
                kind.register_datapipe_as_function(self.name, cls)
        return cls


_determinism = False


class guaranteed_datapipes_determinism:
    """While this context lasts, making a pipe that is declared not deterministic is an error."""

    def __init__(self):
        global _determinism
        self.prev = _determinism
        _determinism = True

    def __enter__(self):
        pass

    def __exit__(self, *exception):
        global _determinism
        _determinism = self.prev


class non_deterministic:
    """Declares that a pipe's order differs from run to run; with a function of its arguments: where that is True."""

    def __init__(self, arg):
        if isinstance(arg, type):
            if not issubclass(arg, IterDataPipe):
                raise TypeError(
                    "Only `IterDataPipe` can be decorated with `non_deterministic`, but got " + arg.__name__
                )
            self.cls, self.applies = arg, None
        elif callable(arg):
            self.cls, self.applies = None, arg
        else:
            raise TypeError(f"{arg} can not be decorated by `non_deterministic`")

    def __call__(self, *args, **kwargs):
        if self.cls is None:
            if not (isinstance(args[0], type) and issubclass(args[0], IterDataPipe)):
                raise TypeError(f"Only `IterDataPipe` can be decorated, but {args[0]} is found")
            self.cls = args[0]
            return self._make
        return self._make(*args, **kwargs)

    def _make(self, *args, **kwargs):
        if _determinism and (self.applies is None or self.applies(*args, **kwargs)):
            raise TypeError(
                f"{self.cls.__name__} is non-deterministic, but you set 'guaranteed_datapipes_determinism'. "
                "You can turn off determinism for this DataPipe if that is acceptable for your application"
            )
        return self.cls(*args, **kwargs)


def argument_validation(f):
    """Checks that arguments annotated with a pipe's class are pipes of it."""
    signature = inspect.signature(f)

    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            wanted = f.__annotations__.get(name)
            wanted = getattr(wanted, "__origin__", wanted)
            if isinstance(wanted, type) and issubclass(wanted, (IterDataPipe, MapDataPipe)):
                if not isinstance(value, wanted):
                    raise TypeError(
                        f"Expected argument '{name}' as a {wanted.__name__}, but found {type(value)}"
                    )
        return f(*args, **kwargs)

    return wrapper


_validation = True


class runtime_validation_disabled:
    """While this context lasts, `runtime_validation` checks nothing."""

    def __init__(self):
        global _validation
        self.prev = _validation
        _validation = False

    def __enter__(self):
        pass

    def __exit__(self, *exception):
        global _validation
        _validation = self.prev


def runtime_validation(f):
    """Decorates an ``__iter__``: samples must be of the type that the class was given, ``class P(IterDataPipe[int])``."""

    @functools.wraps(f)
    def wrapper(self):
        wanted = next(
            (
                base.__args__[0]
                for base in getattr(type(self), "__orig_bases__", ())
                if getattr(base, "__args__", None) and isinstance(base.__args__[0], type)
            ),
            object,
        )
        for value in f(self):
            if _validation and not isinstance(value, wanted):
                raise RuntimeError(
                    f"Expected an instance as subtype of {wanted}, but found {value}({type(value)})"
                )
            yield value

    return wrapper
