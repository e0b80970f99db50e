"""`assert_close`: the same up to rounding, and a report of how far off if not."""

from __future__ import annotations

import cmath
import sys
from collections.abc import Callable, Mapping, Sequence
from numbers import Number

import flambeau

# dtype: relative and absolute tolerance
_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex32": (1e-3, 1e-5),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


class _Options:
    def __init__(self, rtol, atol, **rest):
        self.rtol, self.atol = rtol, atol
        self.__dict__.update(rest)

    def tolerances(self, *dtypes) -> tuple[float, float]:
        """Those given, or the widest that the dtypes call for."""
        if self.rtol is not None:
            return self.rtol, self.atol
        found = [_TOLERANCES.get(str(dtype).rpartition(".")[2], (0.0, 0.0)) for dtype in dtypes]
        return max(rtol for rtol, _ in found), max(atol for _, atol in found)


def assert_close(
    actual,
    expected,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Assert ``abs(actual - expected) <= atol + rtol * abs(expected)`` everywhere.

    Compares tensors, NumPy arrays and numbers, and sequences and mappings of them, item by item.

    Args:
        actual: what was computed.
        expected: what should have been.
        allow_subclasses: whether to compare tensors of different classes.
        rtol, atol: tolerances, both or none; by default by the dtype, none for integers.
        equal_nan: whether two NaNs are equal.
        check_device, check_dtype, check_layout, check_stride: whether these must agree.
        msg: the text of the error, or a function of the text made here.

    Raises:
        AssertionError: they differ.
        TypeError: there is no way to compare the two.

    >>> flambeau.testing.assert_close(flambeau.tensor(1.0), flambeau.tensor(1.0 + 1e-7))
    """
    if (rtol is None) != (atol is None):
        missing = "atol" if atol is None else "rtol"
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.")
    options = _Options(
        rtol,
        atol,
        allow_subclasses=allow_subclasses,
        equal_nan=equal_nan,
        check_device=check_device,
        check_dtype=check_dtype,
        check_layout=check_layout,
        check_stride=check_stride,
    )
    try:
        with flambeau.no_grad():
            _compare(actual, expected, options, "")
    except AssertionError as error:
        text = str(error)
        if msg is not None:
            text = msg(text) if callable(msg) else msg
        raise AssertionError(text) from None


def _fail(text: str, where: str, kind: type = AssertionError):
    raise kind(text + (f"\n\nThe failure occurred for item {where}" if where else ""))


def _is_array(value) -> bool:
    numpy = sys.modules.get("numpy")
    return (
        numpy is not None
        and isinstance(value, (numpy.ndarray, numpy.generic))
        and not isinstance(value, Number)
    )


def _compare(actual, expected, options, where: str) -> None:
    both = (actual, expected)
    if all(isinstance(value, flambeau.Tensor) for value in both):
        related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
        if not (related if options.allow_subclasses else type(actual) is type(expected)):
            _unable(actual, expected, where)
        _compare_tensors(actual, expected, options, where)
    elif actual is None or expected is None:
        if actual is not expected:
            _fail(f"None mismatch: {actual} is not {expected}", where)
    elif all(isinstance(value, bool) for value in both):
        if actual is not expected:
            _fail(f"Booleans mismatch: {actual} is not {expected}", where)
    elif all(isinstance(value, Number) for value in both):
        _compare_numbers(actual, expected, options, where)
    elif all(_is_array(value) for value in both):
        _compare_tensors(flambeau.as_tensor(actual), flambeau.as_tensor(expected), options, where)
    elif all(isinstance(value, Sequence) and not isinstance(value, (str, bytes)) for value in both):
        if len(actual) != len(expected):
            _fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", where)
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            _compare(a, e, options, f"{where}[{i}]")
    elif all(isinstance(value, Mapping) for value in both):
        missing = sorted(map(repr, expected.keys() - actual.keys()))
        extra = sorted(map(repr, actual.keys() - expected.keys()))
        if missing or extra:
            _fail(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: [{', '.join(missing)}]\n"
                f"Additional keys in the actual mapping: [{', '.join(extra)}]",
                where,
            )
        for key in expected:
            _compare(actual[key], expected[key], options, f"{where}[{key!r}]")
    else:
        _unable(actual, expected, where)


def _unable(actual, expected, where: str):
    text = f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
    _fail(text, where, TypeError)


def _limit(tolerance: float) -> str:
    return f" (up to {tolerance} allowed)" if tolerance else ""


def _compare_numbers(actual, expected, options, where: str, tolerances=None) -> None:
    """Numbers; tensors without dimensions come here with the tolerances of their dtypes."""
    if tolerances is None:
        if options.check_dtype and type(actual) is not type(expected):
            _fail(f"The (d)types do not match: {type(actual)} != {type(expected)}.", where)
        kinds = {complex: flambeau.complex128, float: flambeau.float64}
        tolerances = options.tolerances(*(kinds.get(type(v), flambeau.int64) for v in (actual, expected)))
    rtol, atol = tolerances
    if actual == expected:
        return
    if options.equal_nan and cmath.isnan(actual) and cmath.isnan(expected):
        return
    difference = abs(actual - expected)
    if cmath.isfinite(difference) and difference <= atol + rtol * abs(expected):
        return
    relative = difference / abs(expected) if expected != 0 else float("inf")
    adjective = "equal" if rtol == atol == 0 else "close"
    _fail(
        f"Scalars are not {adjective}!\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {difference}{_limit(atol)}\nRelative difference: {relative}{_limit(rtol)}",
        where,
    )


def _compare_tensors(actual, expected, options, where: str) -> None:
    for name, wanted in (
        ("shape", True),
        ("device", options.check_device),
        ("layout", options.check_layout),
        ("dtype", options.check_dtype),
        ("stride()", options.check_stride),
    ):
        if not wanted:
            continue
        a, e = (getattr(t, name.removesuffix("()")) for t in (actual, expected))
        if name.endswith("()"):
            a, e = a(), e()
        if a != e:
            _fail(f"The values for attribute '{name}' do not match: {a} != {e}.", where)
    rtol, atol = options.tolerances(actual.dtype, expected.dtype)
    actual, expected = actual.detach(), expected.detach()
    if actual.dtype != expected.dtype:
        common = flambeau.promote_types(actual.dtype, expected.dtype)
        actual, expected = actual.to(common), expected.to(common)
    if actual.layout is not expected.layout:
        actual, expected = actual.to_dense(), expected.to_dense()
    if actual.layout is flambeau.strided:
        _compare_strided(actual, expected, rtol, atol, options, where, "Tensor-likes")
    else:
        _compare_parts(actual, expected, rtol, atol, options, where)


def _compare_parts(actual, expected, rtol, atol, options, where):
    """Sparse tensors of one layout: as many elements, at the same places, of close values."""
    kind = f"Sparse {str(actual.layout)[-3:].upper()}"
    if actual._nnz() != expected._nnz():
        _fail(
            f"The number of specified values in {kind[0].lower()}{kind[1:]} tensors does not match: {actual._nnz()} != "
            f"{expected._nnz()}",
            where,
        )
    *places, values = flambeau._C._sparse_parts(actual)[:3]
    *wanted, close_to = flambeau._C._sparse_parts(expected)[:3]
    for one, two in zip(places, wanted, strict=True):
        if one is not None:
            _compare_strided(one.long(), two.long(), 0, 0, options, where, f"{kind} indices")
    _compare_strided(values, close_to, rtol, atol, options, where, f"{kind} values")


def _compare_strided(actual, expected, rtol, atol, options, where, what):
    if actual.numel() == 0:
        return
    matches = flambeau.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=options.equal_nan)
    if bool(matches.all()):
        return
    if actual.dim() == 0:
        _compare_numbers(actual.item(), expected.item(), options, where, (rtol, atol))
    if not (actual.dtype.is_floating_point or actual.dtype.is_complex):
        actual, expected = actual.to(flambeau.int64), expected.to(flambeau.int64)
    absolute = (actual - expected).abs()
    relative = absolute / expected.abs()
    count, total = matches.numel() - int(matches.sum()), matches.numel()
    lines = [
        f"{what} are not {'equal' if rtol == atol == 0 else 'close'}!\n",
        f"Mismatched elements: {count} / {total} ({count / total:.1%})",
    ]
    for name, difference, tolerance in (("absolute", absolute, atol), ("relative", relative, rtol)):
        # Elements that match don't count, however far apart: two infinities differ by NaN.
        difference = difference.masked_fill(matches, 0).flatten()
        flat = int(difference.argmax())
        lines.append(
            f"Greatest {name} difference: {difference[flat].item()} at index {_index(flat, actual.shape)}"
            + _limit(tolerance)
        )
    _fail("\n".join(lines), where)


def _index(flat: int, shape) -> tuple:
    """The indices of an element, of its place in row-major order."""
    found = []
    for size in reversed(shape):
        flat, position = divmod(flat, size)
        found.append(position)
    return tuple(reversed(found))


#: Tolerances of an older function, which were wider.
_OLD_TOLERANCES = {
    "float16": (1e-3, 1e-3),
    "bfloat16": (1e-2, 1e-2),
    "float32": (1e-4, 1e-5),
    "float64": (1e-5, 1e-8),
    "complex64": (1e-4, 1e-5),
    "complex128": (1e-5, 1e-8),
}


def assert_allclose(
    actual,
    expected,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """Deprecated: `assert_close` with wider tolerances, in which the dtypes may differ."""
    import warnings

    warnings.warn(
        "torch.testing.assert_allclose() is deprecated: use torch.testing.assert_close(), which has narrower tolerances",
        FutureWarning,
        stacklevel=2,
    )
    if not isinstance(actual, flambeau.Tensor):
        actual = flambeau.tensor(actual)
    if not isinstance(expected, flambeau.Tensor):
        expected = flambeau.tensor(expected, dtype=actual.dtype)
    if rtol is None and atol is None:
        names = [str(t.dtype).rpartition(".")[2] for t in (actual, expected)]
        found = [_OLD_TOLERANCES.get(name, (0.0, 0.0)) for name in names]
        rtol, atol = (max(column) for column in zip(*found, strict=True))
    assert_close(
        actual,
        expected,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_dtype=False,
        check_device=True,
        msg=msg or None,
    )
