"""Functions of lists of tensors: ``torch._foreach_add_(tensors, others, alpha=2)`` and the like, which optimizers use.

Each is the ordinary operator, tensor by tensor: calls are cheap here, so that grouping them would gain nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import flambeau

from ._C import Tensor

_UNARY = (
    "abs acos asin atan ceil cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 neg reciprocal round rsqrt "
    "sigmoid sign sin sinh sqrt tan tanh trunc"
).split()
_BINARY = {
    **{name: name for name in "add sub mul div pow maximum minimum".split()},
    "clamp_max": "minimum",
    "clamp_min": "maximum",
}
_TERNARY = ("addcmul", "addcdiv", "lerp")


def _tensors(name: str, values) -> list:
    if not isinstance(values, (list, tuple)):
        raise TypeError(
            f"_foreach_{name}(): argument 'self' must be a list or tuple of tensors, not {type(values).__name__}"
        )
    if not values:
        raise RuntimeError("Tensor list must have at least one tensor.")
    return values


def _spread(tensors, argument) -> list:
    """One argument per tensor, from a list of them or from one for all."""
    if not isinstance(argument, (list, tuple)):
        return [argument] * len(tensors)
    if len(argument) != len(tensors):
        kind = "tensor" if argument and isinstance(argument[0], Tensor) else "scalar"
        raise RuntimeError(
            f"Tensor list must have same number of elements as {kind} list, got {len(tensors)} and {len(argument)}"
        )
    return argument


def _accepting(function: Callable, aliases: dict[str, str]) -> Callable:
    """The function with other names admitted for its parameters: those that overloads give a number, or a list of them."""

    def accepting(*args, **kwargs):
        for alias in aliases.keys() & kwargs.keys() if kwargs else ():
            kwargs[aliases[alias]] = kwargs.pop(alias)
        return function(*args, **kwargs)

    return accepting


def _extreme(name: str):
    """`maximum` or `minimum` with a number too."""
    by_tensor = getattr(flambeau, name)
    bound = "min" if name == "maximum" else "max"

    def function(tensor, other):
        return by_tensor(tensor, other) if isinstance(other, Tensor) else tensor.clamp(**{bound: other})

    return function


def _function(name: str):
    if name in ("maximum", "minimum"):
        return _extreme(name)
    return getattr(flambeau, name)


def _unary(name: str):
    out_of_place, in_place = getattr(flambeau, name), getattr(Tensor, name + "_")

    def foreach(self):
        return tuple(out_of_place(tensor) for tensor in _tensors(name, self))

    def foreach_(self):
        for tensor in _tensors(name + "_", self):
            in_place(tensor)
        return self

    return foreach, foreach_


def _binary(name: str):
    function = _function(_BINARY[name])
    in_place = getattr(Tensor, _BINARY[name] + "_", None)

    def foreach(self, other, *, alpha=None):
        options = {} if alpha is None else {"alpha": alpha}
        if name == "pow" and not isinstance(self, (list, tuple)):
            return tuple(function(self, exponent) for exponent in _tensors(name, other))
        _tensors(name, self)
        return tuple(function(a, b, **options) for a, b in zip(self, _spread(self, other), strict=True))

    def foreach_(self, other, *, alpha=None):
        options = {} if alpha is None else {"alpha": alpha}
        others = _spread(_tensors(name + "_", self), other)
        for a, b in zip(self, others, strict=True):
            if in_place is not None:
                in_place(a, b, **options)
            else:
                a.copy_(function(a, b, **options))
        return self

    return foreach, foreach_


def _three(name: str):
    """`addcmul`, `addcdiv` and `lerp`: the last argument is a number, a list of numbers, or of tensors (lerp)."""
    out_of_place, in_place = getattr(flambeau, name), getattr(Tensor, name + "_")

    def arguments(self, first, second, value):
        _tensors(name, self)
        if name == "lerp":
            for tensor, end, weight in zip(self, _spread(self, first), _spread(self, second), strict=True):
                yield (tensor, end, weight), {}
            return
        values = value.tolist() if isinstance(value, Tensor) else value
        rows = zip(self, _spread(self, first), _spread(self, second), _spread(self, values), strict=True)
        for tensor, a, b, v in rows:
            yield (tensor, a, b), {"value": v}

    def foreach(self, first, second, value=1):
        return tuple(
            out_of_place(*args, **options) for args, options in arguments(self, first, second, value)
        )

    def foreach_(self, first, second, value=1):
        for args, options in list(arguments(self, first, second, value)):
            in_place(*args, **options)
        return self

    return foreach, foreach_


def _foreach_norm(self, ord=2, dtype=None):
    """The norm of each tensor."""
    return tuple(flambeau.linalg.vector_norm(tensor, ord, dtype=dtype) for tensor in _tensors("norm", self))


def _foreach_powsum(self, ord=2, dtype=None):
    """The sum of the absolute values' powers, of each tensor."""
    return tuple(tensor.to(dtype or tensor.dtype).abs().pow(ord).sum() for tensor in _tensors("powsum", self))


def _foreach_max(self):
    """The largest element of each tensor."""
    return tuple(tensor.max() for tensor in _tensors("max", self))


def _foreach_mm(self, mat2):
    """The matrix products of pairs."""
    return tuple(flambeau.mm(a, b) for a, b in zip(_tensors("mm", self), _spread(self, mat2), strict=True))


def _foreach_clone(self):
    """Copies."""
    return tuple(tensor.clone() for tensor in _tensors("clone", self))


def _foreach_copy_(self, src, non_blocking=False):
    """Copies each tensor of `src` into its partner."""
    for tensor, source in zip(_tensors("copy_", self), _spread(self, src), strict=True):
        tensor.copy_(source, non_blocking)
    return self


def _foreach_zero_(self):
    """Fills all tensors with zeros."""
    for tensor in _tensors("zero_", self):
        tensor.zero_()
    return self


def _publish():
    makers = {
        **dict.fromkeys(_UNARY, _unary),
        **dict.fromkeys(_BINARY, _binary),
        **dict.fromkeys(_TERNARY, _three),
    }
    aliases = {
        **dict.fromkeys(_BINARY, dict.fromkeys(("scalar", "scalars", "exponent"), "other")),
        **dict.fromkeys(_TERNARY, {"tensor1": "first", "tensor2": "second", "scalars": "value"}),
        "lerp": {"tensors1": "first", "weight": "second", "weights": "second"},
    }
    for name, make in makers.items():
        for suffix, function in zip(("", "_"), make(name), strict=True):
            function = _accepting(function, aliases[name]) if name in aliases else function
            function.__name__ = function.__qualname__ = f"_foreach_{name}{suffix}"
            function.__doc__ = f"`{name}{suffix}` of each tensor of a list."
            globals()[function.__name__] = function


_publish()
names = tuple(name for name in globals() if name.startswith("_foreach_"))
