"""The product of scaled matrices of float8, and the words for its scales."""

import enum

import flambeau


class ScalingType(enum.IntEnum):
    """What one scale of `nn.functional.scaled_mm` belongs to. A processor takes the first two."""

    TensorWise = 0
    RowWise = 1
    BlockWise1x16 = 2
    BlockWise1x32 = 3
    BlockWise1x128 = 4
    BlockWise128x128 = 5


class SwizzleType(enum.IntEnum):
    """How the scales of `nn.functional.scaled_mm` lie in memory. A processor takes the first."""

    NO_SWIZZLE = 0
    SWIZZLE_32_4_4 = 1


def scaled_mm(
    mat_a,
    mat_b,
    scale_a,
    scale_recipe_a,
    scale_b,
    scale_recipe_b,
    swizzle_a=None,
    swizzle_b=None,
    bias=None,
    output_dtype=flambeau.bfloat16,
    contraction_dim=(),
    use_fast_accum=False,
):
    """Product of two matrices of float8, each multiplied by its scales.

    Args:
        mat_a, mat_b: matrices of float8 dtypes.
        scale_a, scale_b: float32 tensors, or lists of one.
        scale_recipe_a, scale_recipe_b: what the scales belong to, see `ScalingType`: whole tensors, or rows of `mat_a` and
            columns of `mat_b`.
        swizzle_a, swizzle_b: how the scales lie in memory; plainly, on a processor.
        bias: added to each row.
        output_dtype: the dtype of the result.
        contraction_dim: the dimensions that are summed over: the inner ones.
        use_fast_accum: makes no difference on a processor.

    >>> a = flambeau.tensor([[1.0, 2.0]]).to(flambeau.float8_e4m3fn)
    >>> one, whole = flambeau.ones(1), flambeau.nn.functional.ScalingType.TensorWise
    >>> flambeau.nn.functional.scaled_mm(a, a.t(), one, whole, one, whole)
    tensor([[5.]], dtype=torch.bfloat16)
    """

    def listed(value):
        return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]

    return flambeau._scaled_mm_v2(
        mat_a,
        mat_b,
        listed(scale_a),
        listed(scale_recipe_a),
        listed(swizzle_a),
        listed(scale_b),
        listed(scale_recipe_b),
        listed(swizzle_b),
        bias,
        output_dtype,
        contraction_dim,
        use_fast_accum,
    )
