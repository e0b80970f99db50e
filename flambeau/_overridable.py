"""Which functions of the library go through ``__torch_function__``: those that compute with tensors."""

from __future__ import annotations

import functools
import inspect
import keyword
import types
from collections.abc import Callable

import flambeau

from . import _C, _functional_names
from ._ops import registry

#: Namespaces of functions of tensors, by the names that users know.
_SPACES = ("", "nn.functional", "linalg", "fft", "special")


def _space(name: str):
    return functools.reduce(getattr, name.split("."), flambeau) if name else flambeau


def _signature(function: Callable) -> inspect.Signature | None:
    """Names of the parameters, and their default values."""
    if isinstance(function, (_C.Op, _C.Method)):
        record = registry.records.get(function.__name__.partition(".")[0])
        return None if record is None else _of_record(record.signature)
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _of_record(text: str) -> inspect.Signature:
    inside, kind = text[text.index("(") + 1 : text.rindex(") ->")], inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = []
    depth, start, pieces = 0, 0, []
    for i, letter in enumerate(inside + ","):
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and not depth:
            pieces.append(inside[start:i].strip())
            start = i + 1
    for piece in filter(None, pieces):
        if piece == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        name, given, _ = piece.rpartition(" ")[2].partition("=")
        parameters.append(
            inspect.Parameter(
                name + "_" * keyword.iskeyword(name), kind, default=None if given else inspect.Parameter.empty
            )
        )
    return inspect.Signature(parameters)


def _takes_tensors(function: Callable) -> bool:
    if isinstance(function, _C.Overloads):
        return True
    if isinstance(function, _C.Op):
        record = registry.records.get(function.__name__.partition(".")[0])
        arguments = "" if record is None else record.signature.partition(" ->")[0].replace("Tensor? out", "")
        return record is None or "Tensor" in arguments or "Operand" in arguments
    return (
        isinstance(function, _C.Overridable)
        or getattr(function, "__module__", "") == _functional_names.__name__
    )


@functools.cache
def get_ignored_functions() -> set[Callable]:
    """Public functions that do not go through ``__torch_function__``: they make tensors from numbers, ask for or change
    settings, read files.

    >>> ignored = flambeau.overrides.get_ignored_functions()
    >>> flambeau.zeros in ignored, flambeau.manual_seed in ignored, flambeau.add in ignored
    (True, True, False)
    """
    found = set()
    for name in dir(flambeau):
        if name.startswith("_"):
            continue
        value = getattr(flambeau, name, None)
        if not callable(value) or isinstance(value, (type, types.ModuleType)) or not _hashable(value):
            continue
        if not _takes_tensors(value) or name in _FACTORIES:
            found.add(value)
    found.update(
        getattr(flambeau.Tensor, name)
        for name in "__init__ __new__ __getattribute__ __setattr__ __delattr__ __init_subclass__ __subclasshook__ "
        "__hash__ __iter__ __torch_function__ as_subclass new_empty new_full new_ones new_tensor new_zeros".split()
        if hasattr(flambeau.Tensor, name)
    )
    return found


#: Composed of operators, but of numbers.
_FACTORIES = frozenset(
    "arange as_tensor asarray bartlett_window blackman_window broadcast_shapes hamming_window hann_window kaiser_window "
    "normal range vander".split()
)


def _hashable(value) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _public(space) -> dict[str, Callable]:
    names = getattr(space, "__all__", None) if space is not flambeau else None
    return {
        name: value
        for name in (names or dir(space))
        if not name.startswith("_")
        and callable(value := getattr(space, name, None))
        and not isinstance(value, (type, types.ModuleType))
        and _hashable(value)
    }


def _attributes() -> dict[str, object]:
    """Attributes of tensors that are no methods."""
    return {
        name: value
        for name in dir(flambeau.Tensor)
        if inspect.isdatadescriptor(value := inspect.getattr_static(flambeau.Tensor, name))
        and not (name.startswith("__") and name.endswith("__"))
    }


@functools.cache
def _names() -> dict[Callable, str]:
    found: dict[Callable, str] = {}
    for space in _SPACES:
        prefix = ".".join(filter(None, ("torch", space)))
        for name, value in _public(_space(space)).items():
            found.setdefault(value, f"{prefix}.{name}")
    for name in dir(flambeau.Tensor):
        value = getattr(flambeau.Tensor, name)
        if callable(value) and not isinstance(value, type) and _hashable(value):
            found.setdefault(value, f"torch.Tensor.{name}")
    for name, descriptor in _attributes().items():
        found.setdefault(descriptor.__get__, f"torch.Tensor.{name}.__get__")
    return found


def get_overridable_functions() -> dict:
    """Functions that go through ``__torch_function__``, by the module or class that they belong to.

    >>> functions = flambeau.overrides.get_overridable_functions()
    >>> flambeau.add in functions[flambeau], flambeau.Tensor.add in functions[flambeau.Tensor]
    (True, True)
    """
    ignored, found = get_ignored_functions(), {}
    for name in _SPACES:
        space = _space(name)
        found[space] = [value for value in _public(space).values() if value not in ignored]
    found[flambeau.Tensor] = [
        value
        for name in dir(flambeau.Tensor)
        if callable(value := getattr(flambeau.Tensor, name))
        and not isinstance(value, type)
        and _hashable(value)
        and value not in ignored
        and not hasattr(object, name)
    ]
    return found


@functools.cache
def get_testing_overrides() -> dict[Callable, Callable]:
    """For each function that can be overridden, a function of the same parameters that returns -1.

    >>> dummy = flambeau.overrides.get_testing_overrides()[flambeau.add]
    >>> dummy(1, 2)
    -1
    >>> list(__import__("inspect").signature(dummy).parameters)
    ['input', 'other', 'alpha', 'out']
    """

    def dummy(function):
        signature = _signature(function)

        def answer(*args, **kwargs):
            if signature is not None:
                signature.bind(*args, **kwargs)
            return -1

        if signature is not None:
            answer.__signature__ = signature
        return answer

    return {function: dummy(function) for space in get_overridable_functions().values() for function in space}


def resolve_name(f) -> str | None:
    """The name by which users know a function that can be overridden; None for others.

    >>> flambeau.overrides.resolve_name(flambeau.Tensor.add)
    'torch.Tensor.add'
    """
    from . import _aten

    if isinstance(f, (_aten.OpOverload, _aten.OpOverloadPacket)):
        return str(f)
    try:
        return _names().get(f)
    except TypeError:  # what cannot be hashed
        return None


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether a function is a method of tensors, or reads one of their attributes.

    >>> flambeau.overrides.is_tensor_method_or_property(flambeau.Tensor.add)
    True
    >>> flambeau.overrides.is_tensor_method_or_property(flambeau.add)
    False
    """
    return (resolve_name(func) or "").startswith("torch.Tensor.") or getattr(
        func, "__name__", ""
    ) == "__get__"
