"""Dtypes that PyTorch has and flambeau has no operators for, so that programs can name and compare them.

No tensor has one, and giving one to an operator is a `TypeError`.
"""

from __future__ import annotations


class AbsentDType:
    """The name of a dtype.

    >>> flambeau.float8_e4m3fn == flambeau.float32
    False
    >>> flambeau.zeros(2, dtype=flambeau.float8_e4m3fn)
    Traceback (most recent call last):
    TypeError: zeros(): argument 'dtype' must be torch.dtype, not AbsentDType
    """

    def __init__(self, name: str, itemsize: int, *, is_floating_point: bool):
        self._name, self.itemsize, self.is_floating_point = name, itemsize, is_floating_point
        self.is_complex = False
        self.is_signed = is_floating_point or name.startswith("int")

    def __repr__(self):
        return f"torch.{self._name}"

    def __reduce__(self):
        return self._name


_FLOATS = "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2".split()
_INTEGERS = [f"{kind}{bits}" for kind in ("int", "uint") for bits in range(1, 8)]
for _name in (*_FLOATS, *_INTEGERS):
    globals()[_name] = AbsentDType(_name, 1, is_floating_point=_name in _FLOATS)
del _name
