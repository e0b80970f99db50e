"""Functions of sizes. Sizes are plain numbers here: no program is traced, and nothing makes a symbolic one."""

from __future__ import annotations

import math

_WHY = "sizes are plain Python numbers in flambeau, which traces no programs"


class _Symbolic:
    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"{type(self).__name__} cannot be made: {_WHY}")


class SymInt(_Symbolic):
    """An integer known only when a traced program runs; there are none here, so that ``isinstance`` says no."""


class SymFloat(_Symbolic):
    """See `SymInt`."""


class SymBool(_Symbolic):
    """See `SymInt`."""


def sym_int(a):
    """`a` without its fraction, as ``int``."""
    return math.trunc(a)


def sym_float(a):
    """``float(a)``."""
    return float(a)


def sym_not(a):
    """``not a``."""
    return not a


def sym_max(a, b):
    """The larger number; a float if one of them is.

    >>> flambeau.sym_max(1, 2.0)
    2.0
    """
    larger = max(a, b)
    return float(larger) if isinstance(a, float) or isinstance(b, float) else larger


def sym_min(a, b):
    """The smaller number; a float if one of them is."""
    smaller = min(a, b)
    return float(smaller) if isinstance(a, float) or isinstance(b, float) else smaller


def sym_ite(b, t, f):
    """`t` if `b` is true, else `f`."""
    if not (isinstance(b, bool) and type(t) is type(f)):
        raise AssertionError("sym_ite: the condition must be a bool, and both values of one type")
    return t if b else f


def sym_sum(*args):
    """The sum of numbers, given one by one or in a list."""
    return sum(args[0] if len(args) == 1 and isinstance(args[0], (list, tuple)) else args)


def sym_sqrt(a):
    """``math.sqrt(a)``."""
    return math.sqrt(a)


def sym_fresh_size(expr):
    """Only a program that is being traced can ask for a new size."""
    raise RuntimeError(f"sym_fresh_size: {_WHY}")
