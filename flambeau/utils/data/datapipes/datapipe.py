"""The base classes of data pipes, and the list that batching pipes give."""

from __future__ import annotations

import functools
import inspect
from typing import TypeVar

from ..dataset import Dataset, IterableDataset

__all__ = ["DFIterDataPipe", "DataChunk", "IterDataPipe", "MapDataPipe"]

_T_co = TypeVar("_T_co", covariant=True)
_T = TypeVar("_T")


class _Pipe:
    """What both kinds share: steps as methods, hooks of pickling, printing."""

    functions: dict = {}
    reduce_ex_hook = None
    getstate_hook = None
    str_hook = None
    repr_hook = None

    def __getattr__(self, name):
        if name in self.functions:
            made = functools.partial(self.functions[name], self)
            functools.update_wrapper(made, self.functions[name], assigned=("__doc__",))
            return made
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @classmethod
    def register_function(cls, function_name, function):
        """Make ``pipe.function_name(...)`` call ``function(pipe, ...)`` for all pipes of this kind."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(cls, function_name, cls_to_register, enable_df_api_tracing=False):
        """Make ``pipe.function_name(...)`` a ``cls_to_register(pipe, ...)`` for all pipes of this kind."""
        if function_name in cls.functions:
            raise Exception(f"Unable to add DataPipe function name {function_name} as it is already taken")

        def make(source, *args, **kwargs):
            return cls_to_register(source, *args, **kwargs)

        functools.update_wrapper(make, cls_to_register, assigned=("__doc__",), updated=())
        cls.functions[function_name] = make

    @classmethod
    def set_getstate_hook(cls, hook_fn):
        """``hook_fn(pipe)`` gives what a pipe is pickled as; None removes it."""
        if cls.getstate_hook is not None and hook_fn is not None:
            raise RuntimeError("Attempt to override existing getstate_hook")
        cls.getstate_hook = hook_fn and staticmethod(hook_fn)

    @classmethod
    def set_reduce_ex_hook(cls, hook_fn):
        """``hook_fn(pipe)`` stands for ``__reduce_ex__``, unless it raises NotImplementedError; None removes it."""
        if cls.reduce_ex_hook is not None and hook_fn is not None:
            raise RuntimeError("Attempt to override existing reduce_ex_hook")
        cls.reduce_ex_hook = hook_fn and staticmethod(hook_fn)

    def __getstate__(self):
        return self.__dict__ if self.getstate_hook is None else self.getstate_hook(self)

    def __setstate__(self, state):
        self.__dict__.update(state)

    def __reduce_ex__(self, *args, **kwargs):
        if self.reduce_ex_hook is not None:
            try:
                return self.reduce_ex_hook(self)
            except NotImplementedError:
                pass
        return super().__reduce_ex__(*args, **kwargs)

    def __str__(self):
        return type(self).__qualname__ if self.str_hook is None else self.str_hook(self)

    def __repr__(self):
        return type(self).__qualname__ if self.repr_hook is None else self.repr_hook(self)

    def __dir__(self):
        return [*super().__dir__(), *self.functions]


class MapDataPipe(_Pipe, Dataset[_T_co]):
    """A pipe whose samples have keys: subclasses define ``__getitem__``, most of them ``__len__`` too.

    >>> from flambeau.utils.data.datapipes.map import SequenceWrapper
    >>> list(SequenceWrapper([1, 2, 3]).map(lambda x: 2 * x))
    [2, 4, 6]
    """

    functions: dict = {}


class IterDataPipe(_Pipe, IterableDataset[_T_co]):
    """A pipe whose samples come one after another: subclasses define ``__iter__``.

    One iterator is valid at a time: a new one ends those before it, after calling ``reset()``.

    >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
    >>> list(IterableWrapper(range(5)).filter(lambda x: x % 2 == 0).batch(2))
    [[0, 2], [4]]
    """

    functions: dict = {}
    _tells_where = True  # an error in __iter__ gets a line that names the pipe
    _valid_iterator_id = None
    _number_of_samples_yielded = 0

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__iter__" in cls.__dict__:
            cls.__iter__ = _one_at_a_time(cls.__dict__["__iter__"])

    def reset(self):
        """Called when an iteration starts; subclasses forget here what the one before left."""

    def _start(self):
        self._valid_iterator_id = 1 if self._valid_iterator_id is None else self._valid_iterator_id + 1
        self._number_of_samples_yielded = 0
        self.reset()
        return self._valid_iterator_id

    def _check(self, iterator_id):
        if iterator_id != self._valid_iterator_id:
            raise RuntimeError(
                "This iterator has been invalidated because another iterator has been created from the same "
                f"IterDataPipe: {_described(self)}\nThis may be caused by multiple references to the same IterDataPipe. "
                "We recommend using `.fork()` if that is necessary."
            )


class DFIterDataPipe(IterDataPipe):
    """A pipe of data frames."""

    def _is_dfpipe(self):
        return True


def _one_at_a_time(iterate):
    @functools.wraps(iterate)
    def __iter__(self):
        me = self._start()
        source = iter(iterate(self)) if inspect.isgeneratorfunction(iterate) else _steps(iterate(self))
        while True:
            self._check(me)
            try:
                value = next(source)
            except StopIteration:
                return
            except Exception as error:
                note = f"This exception is thrown by __iter__ of {_described(self)}"
                if self._tells_where and error.args and "thrown by __iter__ of" not in str(error.args[0]):
                    error.args = (f"{error.args[0]}\n{note}", *error.args[1:])
                raise
            self._number_of_samples_yielded += 1
            yield value

    return __iter__


def _steps(iterator):
    """The values of a pipe that is its own iterator."""
    while True:
        try:
            value = next(iterator)
        except StopIteration:
            return
        yield value


def _described(pipe):
    """``Name(argument=value, ...)``, as far as the pipe keeps its arguments under their names."""
    parts = []
    for name in sorted(inspect.signature(type(pipe)).parameters):
        if name in pipe.__dict__:
            value = pipe.__dict__[name]
            parts.append(f"{name}={getattr(value, '__name__', None) or repr(value)}")
    return f"{type(pipe).__name__}({', '.join(parts)})"


class DataChunk(list):
    """A batch of samples: a list that says so by its type.

    >>> flambeau.utils.data.DataChunk([1, 2]).as_str("> ")
    '> [1, 2]'
    """

    def __init__(self, items):
        items = list(items)
        super().__init__(items)
        self.items = items

    def as_str(self, indent=""):
        """The samples in brackets, after `indent`."""
        return indent + "[" + ", ".join(str(item) for item in self) + "]"

    def __iter__(self):
        yield from super().__iter__()

    def raw_iterator(self):
        """The samples as they are stored."""
        yield from self.items


def name_as_in_pytorch(namespace, kind, *classes):
    """Give classes the longer names that they have there, ``Mapper`` becoming ``MapperIterDataPipe``."""
    for cls in classes:
        cls.__name__ = cls.__qualname__ = cls.__name__ + kind.__name__
        namespace[cls.__name__] = cls
