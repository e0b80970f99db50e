"""Forward-mode differentiation: tensors that carry a tangent, their derivative in one direction, through every operator.

>>> fwAD = flambeau.autograd.forward_ad
>>> with fwAD.dual_level():
...     x = fwAD.make_dual(flambeau.tensor([1.0, 2.0]), flambeau.tensor([1.0, 0.0]))
...     fwAD.unpack_dual(x * x).tangent
tensor([2., 0.])
"""

from typing import NamedTuple

from .. import _C
from .grad_mode import _Decorator

__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "unpack_dual",
]

#: The level that is entered, and the native one that stands for it.
_entered = []


class UnpackedDualTensor(NamedTuple):
    """A tensor without its tangent, and the tangent: None where there is none."""

    primal: _C.Tensor
    tangent: _C.Tensor | None


def enter_dual_level():
    """Enter a level and return its number. Tensors made by :func:`make_dual` have their tangents until it is left.

    Raises:
        RuntimeError: a level is entered already. `flambeau.func.jvp` can be nested.
    """
    if _entered:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    from .._transforms import ForwardLevel

    _entered.append(ForwardLevel().__enter__())
    return 0


def exit_dual_level(*, level=None):
    """Leave the level: tensors lose their tangents."""
    if not _entered:
        raise RuntimeError("Dual level must be a positive number.")
    if level not in (None, 0):
        raise RuntimeError(
            f"Trying to exit a forward AD level that was not the last one that was created: {level}. This is not supported."
        )
    _entered.pop().__exit__(None, None, None)


def _check_level(level):
    if level is not None and (level < 0 or level > 0):
        raise RuntimeError(f"forward AD knows one level at a time, which is 0, got {level}")


def make_dual(tensor, tangent, *, level=None):
    """Return `tensor` with a tangent, sharing its memory.

    Both are of floating point or complex dtype and of one shape. The result has the history of `tensor`, and its tangent
    that of `tangent`.

    Raises:
        RuntimeError: no level is entered, or the shapes differ.
        ValueError: integers have no derivatives.
    """
    from ..func.jacobians import check_tangent

    if not isinstance(tensor, _C.Tensor) or not isinstance(tangent, _C.Tensor):
        raise TypeError(f"make_dual takes two tensors, got {type(tensor)} and {type(tangent)}")
    _check_level(level)
    if not _entered:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    check_tangent(tensor, tangent)
    wrapped = _entered[-1].wrap(tensor, tangent)
    return _C._continue_history(wrapped, tensor) if tensor.requires_grad else wrapped


def unpack_dual(tensor, *, level=None):
    """Return ``(primal, tangent)`` of a tensor; the tangent is None where it has none, or no level is entered."""
    _check_level(level)
    if not _entered:
        return UnpackedDualTensor(tensor, None)
    primal, tangent = _entered[-1].unwrap(tensor)
    return UnpackedDualTensor(primal, tangent)


class dual_level(_Decorator):
    """Inside, forward-mode differentiation is on: see :func:`make_dual`."""

    def __enter__(self):
        return enter_dual_level()

    def __exit__(self, *exc):
        exit_dual_level()
