"""Products of matrices of float8 that carry their scales beside them."""

import flambeau

from .outputs import deliver
from .registry import composite

_FLOAT8 = (
    flambeau.float8_e4m3fn,
    flambeau.float8_e5m2,
    flambeau.float8_e4m3fnuz,
    flambeau.float8_e5m2fnuz,
    flambeau.float8_e8m0fnu,
)


def _wrong_scaling(a, b, scale_a, scale_b):
    def facts(name, tensors):
        return " ".join(f"{name}: {t.dtype}, {tuple(t.shape)};" for t in tensors)

    raise ValueError(
        "Invalid scaling configuration. Both matrices have to be float8 and the scales float32: either one number each, or "
        f"contiguous, of shapes ({a.shape[0]}, 1) and (1, {b.shape[1]}). Got {facts('matrix', (a, b))} "
        f"{facts('scale_a', scale_a)} {facts('scale_b', scale_b)}"
    )


def _product(a, b, scale_a, scale_b, bias, scale_result, dtype):
    """In float32, of the matrices with their scales; rounded once."""
    a, b = a.float() * scale_a, b.float() * scale_b
    product = a @ b if bias is None else flambeau.addmm(bias.float(), a, b)
    if scale_result is not None:
        product = product / scale_result
    return product.to(dtype)


def _are_scales(a, b, scale_a, scale_b, *, rows):
    if not all(t.dtype is flambeau.float32 for t in (scale_a, scale_b)):
        return False
    if not rows:
        return scale_a.numel() == scale_b.numel() == 1
    shapes = (tuple(scale_a.shape), tuple(scale_b.shape)) == ((a.shape[0], 1), (1, b.shape[1]))
    return shapes and scale_a.is_contiguous() and scale_b.is_contiguous()


def _check_matrices(a, b, bias, names, error):
    for name, matrix in zip(names, (a, b), strict=True):
        if matrix.dim() != 2:
            raise error(f"{name} must be a matrix")
    if a.shape[1] != b.shape[0]:
        raise error(
            f"mat_a and mat_b shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and {b.shape[0]}x{b.shape[1]})"
        )
    if bias is not None and bias.numel() != b.shape[1]:
        raise error(f"Bias must be size {b.shape[1]} but got {bias.numel()}")


@composite
def _scaled_mm(
    input,
    mat2,
    scale_a,
    scale_b,
    bias=None,
    scale_result=None,
    out_dtype=None,
    use_fast_accum=False,
    *,
    out=None,
):
    """Product of two matrices of float8, each multiplied by its scale.

    Args:
        input, mat2: matrices of float8 dtypes, which may differ.
        scale_a, scale_b: float32; one number each, or one for each row of `input` and for each column of `mat2`.
        bias: added to each row.
        scale_result: what the result is divided by, if `out_dtype` is float8_e4m3fn or float8_e5m2.
        out_dtype: the dtype of the result; that of `input` if left out.
        use_fast_accum: makes no difference on a processor.

    >>> a = flambeau.tensor([[1.0, 2.0]]).to(flambeau.float8_e4m3fn)
    >>> one = flambeau.tensor(1.0)
    >>> flambeau._scaled_mm(a, a.t(), one, one / 2, out_dtype=flambeau.float32)
    tensor([[2.5000]])
    """
    for position, (name, scale) in enumerate((("scale_a", scale_a), ("scale_b", scale_b)), 3):
        if not isinstance(scale, flambeau.Tensor):
            raise TypeError(
                f"_scaled_mm(): argument '{name}' (position {position}) must be Tensor, not {type(scale).__name__}"
            )
    _check_matrices(input, mat2, bias, ("mat1", "mat2"), RuntimeError)
    by_number = _are_scales(input, mat2, scale_a, scale_b, rows=False)
    by_row = _are_scales(input, mat2, scale_a, scale_b, rows=True)
    if input.dtype not in _FLOAT8 or mat2.dtype not in _FLOAT8 or not (by_number or by_row):
        _wrong_scaling(input, mat2, [scale_a], [scale_b])
    if out_dtype not in (flambeau.float8_e4m3fn, flambeau.float8_e5m2):
        scale_result = None
    dtype = out.dtype if out is not None else input.dtype if out_dtype is None else out_dtype
    return deliver(_product(input, mat2, scale_a, scale_b, bias, scale_result, dtype), out, "_scaled_mm")


@composite
def _scaled_mm_v2(
    input,
    mat2,
    scale_a,
    recipe_a,
    swizzle_a,
    scale_b,
    recipe_b,
    swizzle_b,
    bias,
    out_dtype,
    contraction_dim=(),
    use_fast_accum=False,
    *,
    out=None,
):
    """:func:`_scaled_mm` with lists of scales, and numbers that say what they are: see `nn.functional.ScalingType`.

    >>> a = flambeau.tensor([[1.0, 2.0]]).to(flambeau.float8_e4m3fn)
    >>> one = flambeau.ones(1)
    >>> flambeau._scaled_mm_v2(a, a.t(), [one], [0], [0], [one], [0], [0], None, flambeau.float32)
    tensor([[5.]])
    """
    if contraction_dim and tuple(contraction_dim) not in ((1, 0), (-1, 0), (1, -2), (-1, -2)):
        raise ValueError(
            f"mat_a and mat_b cannot be multiplied with contraction dims mat_a: {contraction_dim[0]}, "
            f"mat_b: {contraction_dim[-1]}"
        )
    _check_matrices(input, mat2, bias, ("mat_a", "mat_b"), ValueError)
    if any(map(int, [*swizzle_a, *swizzle_b])):
        raise ValueError("CPU does not support swizzle.")
    recipes = [*map(int, recipe_a)], [*map(int, recipe_b)]
    alike = recipes in (([0], [0]), ([1], [1])) and len(scale_a) == len(scale_b) == 1
    if not alike or not {input.dtype, mat2.dtype} <= {*_FLOAT8}:
        _wrong_scaling(input, mat2, scale_a, scale_b)
    rows = recipes[0] == [1]
    wanted = ((input.shape[0], 1), (1, mat2.shape[1])) if rows else ((), ())
    for name, (scale,), shape in zip(("scale_a", "scale_b"), (scale_a, scale_b), wanted, strict=True):
        if scale.dtype is not flambeau.float32:
            _wrong_scaling(input, mat2, scale_a, scale_b)
        if not rows and scale.numel() != 1:
            raise ValueError(f"{name} must have 1 Float element")
        if rows and tuple(scale.shape) != shape:
            raise ValueError(f"{name} must have shape {list(shape)}, got {list(scale.shape)}")
    dtype = input.dtype if out_dtype is None else out_dtype
    if out is not None and out.dtype is not dtype:
        raise ValueError("out_dtype must match output matrix type")
    return deliver(_product(input, mat2, scale_a[0], scale_b[0], bias, None, dtype), out, "_scaled_mm_v2")
