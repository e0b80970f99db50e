"""What an operator's author says of it for compilers and tracers, none of which look at it here."""

import enum


class Tag(enum.Enum):
    """Properties of operators, as programs give them to `flambeau.library`.

    >>> flambeau.Tag.needs_fixed_stride_order
    <Tag.needs_fixed_stride_order: 11>
    """

    core = 0
    cudagraph_unsafe = 1
    data_dependent_output = 2
    dynamic_output_shape = 3
    flexible_layout = 4
    generated = 5
    inplace = 6
    inplace_view = 7
    maybe_aliasing_or_mutating = 8
    needs_contiguous_strides = 9
    needs_exact_strides = 10
    needs_fixed_stride_order = 11
    nondeterministic_bitwise = 12
    nondeterministic_seeded = 13
    out = 14
    out_variant = 15
    pointwise = 16
    pt2_compliant_tag = 17
    reduction = 18
    view_copy = 19

    def __int__(self):
        return self.value


Tag.__module__ = "torch"
