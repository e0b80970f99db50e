"""Sizes given as one number or one per dimension."""


def _ntuple(n):
    def parse(value):
        if hasattr(value, "__iter__"):
            return tuple(value)
        return (value,) * n

    parse.__name__ = f"_ntuple_{n}"
    return parse


_single = _ntuple(1)
_pair = _ntuple(2)
_triple = _ntuple(3)
_quadruple = _ntuple(4)


def _reverse_repeat_tuple(values, n):
    """(a, b) as (b, b, a, a): amounts per dimension in the order that `pad` wants."""
    return tuple(value for value in reversed(values) for _ in range(n))
