"""Plain pickles of what is native and no tensor.

Many of these types call their module torch, so that they print as PyTorch's, and a pickle must not look for them there:
PyTorch may be absent, or be there as well. (The files of `save` do name torch: see `_serialization.names`.)
"""

from __future__ import annotations

import copyreg
from importlib import import_module

from flambeau import _C
from flambeau._ops.registry import records

# Where operators are public.
_MODULES = ("", ".nn.functional", ".linalg", ".special", ".fft")


def _named(name):
    return getattr(_C, name)


def _constructed(name, value):
    return getattr(_C, name)(value)


def _reduce_named(obj):
    return _named, (str(obj).rpartition(".")[2],)


def _reduce_storage(storage):
    from flambeau.storage import storage_bytes, untyped_from_bytes

    from .pickling import is_for_a_process

    if is_for_a_process():
        from flambeau.multiprocessing import reductions

        return reductions.reduce_storage(storage)
    return untyped_from_bytes, (bytes(storage_bytes(storage)) if storage.nbytes() else b"",)


def public_name(operator) -> tuple[str, str]:
    """The module under ``flambeau``, and the name in it, by which an operator is known."""
    name = operator.__name__
    for module in _MODULES:
        for candidate in (name, name.partition("_")[2], name.partition(".")[0]):
            if candidate and getattr(import_module(f"flambeau{module}"), candidate, None) is operator:
                return module, candidate
    raise AttributeError(f"cannot pickle {operator}: it is not public under its name")


def operator(module: str, name: str):
    """The operator that `public_name` tells of."""
    if module not in _MODULES:
        raise ValueError(f"not a module of operators: flambeau{module}")
    return getattr(import_module(f"flambeau{module}"), name)


def _method(name: str):
    return getattr(_C.Tensor, name)


def generator(device, seed: int, state):
    """A generator in a given state. Its device is always the CPU."""
    made = _C.Generator(device)
    made.manual_seed(seed)
    made.set_state(state)
    return made


def _reduce_generator(made):
    return generator, (str(made.device), made.initial_seed(), made.get_state())


def _set_generator_state(made, state) -> None:
    """The state in PyTorch's pickles: the seed, an offset that only accelerators have, the state."""
    seed, _, bytes_of_state = state
    made.manual_seed(seed)
    made.set_state(bytes_of_state)


def results(name: str, values: tuple):
    """The named tuple that the operator `name` returns."""
    return getattr(import_module("flambeau.return_types"), name)(values)


def _reduce_results(values):
    return results, (type(values).__name__, tuple(values))


def install() -> None:
    """Tell `copyreg`, and the types that don't listen to it."""
    for kind in (_C.dtype, _C.layout, _C.memory_format):
        copyreg.pickle(kind, _reduce_named)
    copyreg.pickle(_C.device, lambda device: (_constructed, ("device", str(device))))
    copyreg.pickle(_C.Size, lambda size: (_constructed, ("Size", tuple(size))))
    copyreg.pickle(_C.UntypedStorage, _reduce_storage)
    copyreg.pickle(_C.Op, lambda made: (operator, public_name(made)))
    copyreg.pickle(type(_C.Tensor.neg), lambda made: (_method, (made.__name__,)))
    copyreg.pickle(_C.Generator, _reduce_generator)
    _C.Generator.__setstate__ = _set_generator_state
    for record in records.values():
        if record.op.result_type is not None:
            record.op.result_type.__reduce__ = _reduce_results
