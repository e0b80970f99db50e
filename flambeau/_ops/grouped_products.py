"""Products of matrices by groups: rows, columns or what is summed over, divided among several matrices."""

import flambeau

from .outputs import _class_name
from .registry import composite, takes

_DTYPES = (flambeau.float32, flambeau.bfloat16, flambeau.float16)


def _bounds(offs, size):
    """Pairs (begin, end) of the groups along a dimension of `size`."""
    ends = offs.tolist()
    begins = [0, *ends[:-1]]
    if any(not begin <= end <= size for begin, end in zip(begins, ends, strict=False)):
        raise RuntimeError(f"offs must not decrease, and lie between 0 and {size}, but is {ends}")
    return list(zip(begins, ends, strict=False))


def _check(a, b, offs, bias, out_dtype):
    for name, t in (("mat_a", a), ("mat_b", b)):
        if t.dtype not in _DTYPES:
            raise RuntimeError(
                f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {_class_name(t.dtype)}"
            )
        if t.dim() not in (2, 3):
            raise RuntimeError(f"{name} has to be 2 or 3d")
    if a.size(-1) != b.size(-2):
        raise RuntimeError("contraction dimension of mat_a and mat_b must match")
    if (offs is None) != (a.dim() == b.dim() == 3):
        raise RuntimeError(
            "Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d"
        )
    if offs is None:
        if a.size(0) != b.size(0):
            raise RuntimeError("batched dimension has to match")
    else:
        if offs.dim() != 1:
            raise RuntimeError("offs has to be 1D")
        if offs.dtype is not flambeau.int32:
            raise RuntimeError("Offsets have to be int32")
        if any(t.dim() == 3 and t.size(0) != offs.size(0) for t in (a, b)):
            raise RuntimeError("matrix batch sizes have to match")
    if bias is not None:
        raise RuntimeError("Bias not supported yet")
    if out_dtype is not None and out_dtype is not a.dtype:
        raise RuntimeError("Grouped gemm output dtype must match `mat_a` dtype")


def _shape(a, b, offs):
    if a.dim() == b.dim():
        return (b.size(0) if offs is None else offs.size(0), a.size(-2), b.size(-1))
    return a.size(-2), b.size(-1)


def _by_groups(a, b, offs):
    shape = _shape(a, b, offs)
    if a.is_meta or b.is_meta or (offs is not None and offs.is_meta):
        return flambeau.empty(shape, dtype=a.dtype, device="meta")
    if offs is None:
        return a.bmm(b)
    if a.dim() == b.dim():
        products = [a[:, begin:end].mm(b[begin:end]) for begin, end in _bounds(offs, a.size(1))]
        return flambeau.stack(products) if products else a.new_zeros(shape)
    # What lies behind the last group is in no product, and 0.
    if a.dim() == 2:
        bounds = _bounds(offs, a.size(0))
        products = [a[begin:end].mm(m) for (begin, end), m in zip(bounds, b, strict=True)]
        rest = a.new_zeros((a.size(0) - (bounds[-1][1] if bounds else 0), b.size(-1)))
        return flambeau.cat([*products, rest])
    bounds = _bounds(offs, b.size(1))
    products = [m.mm(b[:, begin:end]) for (begin, end), m in zip(bounds, a, strict=True)]
    rest = a.new_zeros((a.size(1), b.size(1) - (bounds[-1][1] if bounds else 0)))
    return flambeau.cat([*products, rest], 1)


@composite
@takes(
    "_grouped_mm(Tensor input, Tensor mat2, Tensor? offs=None, Tensor? bias=None, dtype? out_dtype=None)",
)
def _grouped_mm(input, mat2, offs=None, bias=None, out_dtype=None):
    """What `nn.functional.grouped_mm` calls: see there."""
    _check(input, mat2, offs, bias, out_dtype)
    if not flambeau.is_autocast_enabled("cpu"):
        return _by_groups(input, mat2, offs)
    with flambeau.autocast("cpu", enabled=False):  # PyTorch leaves its dtypes alone
        return _by_groups(input, mat2, offs)


def grouped_mm(mat_a, mat_b, *, offs=None, bias=None, out_dtype=None):
    """Products of groups: of a matrix's rows with a matrix each, say, as experts take the tokens that were routed to them.

    Args:
        mat_a: (M, K), or (groups, M, K).
        mat_b: (K, N), or (groups, K, N).
        offs: where each group ends, int32, unless both are three-dimensional. With (M, K) and (groups, K, N) the groups
            are of rows, with (groups, M, K) and (K, N) of columns, and the results lie beside one another; with two
            matrices they are of what is summed over, and the result is (groups, M, N).
        bias: must be None.
        out_dtype: must be that of `mat_a`, which is float32, bfloat16 or float16.

    >>> tokens, experts = flambeau.ones(3, 2), flambeau.tensor([[[1.0], [1.0]], [[2.0], [2.0]]])
    >>> flambeau.nn.functional.grouped_mm(tokens, experts, offs=flambeau.tensor([1, 3], dtype=flambeau.int32))
    tensor([[2.],
            [4.],
            [4.]])
    """
    return _grouped_mm(mat_a, mat_b, offs, bias, out_dtype)
