"""`finfo` and `iinfo`: the limits of a dtype's numbers."""

from __future__ import annotations

import functools

import flambeau

# dtype: bits, bits of the fraction, smallest exponent of a normal number, decimal resolution
_FLOATS = {
    "float16": (16, 10, -14, 1e-3),
    "bfloat16": (16, 7, -126, 1e-2),
    "float32": (32, 23, -126, 1e-6),
    "float64": (64, 52, -1022, 1e-15),
}
# float8: eps, smallest normal number, lowest and largest number (eps of e5m2fnuz as PyTorch has it)
_NARROW = {
    "float8_e4m3fn": (2**-3, 2**-6, -448.0, 448.0),
    "float8_e4m3fnuz": (2**-3, 2**-7, -240.0, 240.0),
    "float8_e5m2": (2**-2, 2**-14, -57344.0, 57344.0),
    "float8_e5m2fnuz": (2**-3, 2**-15, -57344.0, 57344.0),
    "float8_e8m0fnu": (1.0, 2**-127, 2.0**-127, 2.0**127),
}
#: Dtypes that only store: their elements are moved, and those of float8 converted, but hardly ever computed with.
STORED_ONLY = (
    *_NARROW,
    "float4_e2m1fn_x2",
    *("bits1x8", "bits2x4", "bits4x2", "bits8", "bits16"),
    *(f"{kind}{bits}" for kind in ("uint", "int") for bits in range(1, 8)),
)
_REAL_PART = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}


@functools.cache
def _stored_only_dtypes() -> frozenset:
    return frozenset(getattr(flambeau, name) for name in STORED_ONLY)


def check_computing(tensor, name: str) -> None:
    """Raise NotImplementedError for a tensor of a dtype that only stores, as native operators do."""
    if tensor.dtype in _stored_only_dtypes():
        kind = tensor.type().removeprefix("torch.").removesuffix("Tensor")
        raise NotImplementedError(f"\"{name}\" not implemented for '{kind}'")


#: Python's types of numbers stand for dtypes, as in ``dtype=float``.
_PYTHON_TYPES = {
    float: flambeau.float64,
    complex: flambeau.complex128,
    int: flambeau.int64,
    bool: flambeau.bool,
}


def _dtype_of(given):
    return _PYTHON_TYPES.get(given, given) if isinstance(given, type) else given


def _name(dtype, function: str) -> str:
    if not isinstance(dtype, flambeau.dtype):
        raise TypeError(
            f"{function}(): argument 'type' (position 1) must be torch.dtype, not {type(dtype).__name__}"
        )
    return str(dtype).rpartition(".")[2]


class _Info:
    __slots__ = ("bits", "dtype", "max", "min")

    def __eq__(self, other):
        return type(self) is type(other) and self.dtype == other.dtype

    def __hash__(self):
        return hash((type(self).__name__, self.dtype))


class finfo(_Info):
    """The limits of a floating point dtype (of the parts, for a complex one).

    Args:
        type: the dtype; the default dtype if left out.

    Attributes:
        bits: size of a number.
        eps: the distance from 1.0 to the next larger number.
        max, min: the largest and the lowest number.
        tiny, smallest_normal: the smallest positive number that has full precision.
        resolution: the power of ten that still makes a difference beside 1.0.
        dtype: the name of the dtype.

    >>> flambeau.finfo(flambeau.float32).eps
    1.1920928955078125e-07
    """

    __slots__ = ("eps", "resolution", "smallest_normal", "tiny")

    def __init__(self, type=None):
        type = _dtype_of(type)
        name = _name(flambeau.get_default_dtype() if type is None else type, "finfo")
        self.dtype = _REAL_PART.get(name, name)
        if name in _NARROW:
            self.bits, self.resolution = 8, 1.0
            self.eps, self.smallest_normal, self.min, self.max = _NARROW[name]
            self.tiny = self.smallest_normal
            return
        if self.dtype not in _FLOATS:
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.finfo' "
                f"(got torch.{name})"
            )
        self.bits, fraction, lowest_exponent, self.resolution = _FLOATS[self.dtype]
        self.eps = 2.0**-fraction
        self.tiny = self.smallest_normal = 2.0**lowest_exponent
        self.max = (2.0 - self.eps) * 2.0 ** (1 - lowest_exponent)
        self.min = -self.max

    def __repr__(self):
        shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return (
            "finfo(" + "".join(f"{name}={getattr(self, name):g}, " for name in shown) + f"dtype={self.dtype})"
        )


class iinfo(_Info):
    """The limits of an integer dtype.

    Args:
        type: the dtype.

    Attributes:
        bits: size of a number.
        max, min: the largest and the lowest number.
        dtype: the name of the dtype.

    >>> flambeau.iinfo(flambeau.int8)
    iinfo(min=-128, max=127, dtype=int8)
    """

    __slots__ = ()

    def __init__(self, type):
        type = _dtype_of(type)
        self.dtype = _name(type, "iinfo")
        if self.dtype == "bool":
            raise TypeError("torch.bool is not supported by torch.iinfo")
        if type.is_floating_point or type.is_complex or self.dtype in STORED_ONLY:
            raise TypeError(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo' "
                f"(got torch.{self.dtype})"
            )
        self.bits = 8 * type.itemsize
        signed = not self.dtype.startswith("u")
        self.max = 2 ** (self.bits - signed) - 1
        self.min = -(self.max + 1) if signed else 0

    def __repr__(self):
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


for _class in (finfo, iinfo):
    _class.__module__ = "flambeau"
