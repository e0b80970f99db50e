"""Which native operators take dtypes that only store: float8, and those that are bytes to everybody but the program.

Views do, and pointwise operators, which have loops for float8 or refuse it. What is not listed here raises
NotImplementedError, as in PyTorch, whose choice this is.
"""

from .. import _C
from .registry import inplace_records, records

_QUESTIONS = (
    "result_type is_floating_point is_complex is_signed is_inference numel get_device is_same_size is_nonzero"
)
_MAKERS = """
    empty zeros ones full eye eye.m empty_like zeros_like ones_like full_like new_empty new_zeros new_ones new_full
    new_empty_strided new_tensor rand_like randn_like randint_like randint_like.low tensor _from_data
"""
_CASTS = """
    _to to.dtype to.other to float double half bfloat16 bool byte char short int long chalf cfloat cdouble cpu type_as
"""
_MOVES = """
    fill_ zero_ copy_ clone contiguous detach resize_ resize_as_ _set_storage where where.method index index_put_
    index_select masked_select cat stack repeat _repeat_interleave_index roll flip constant_pad_nd embedding
    unsafe_split_with_sizes
"""
# They compute in another dtype, ask their loops, which know what float8 has, or have errors of their own.
_COMPUTING = """
    sum nansum mean prod cumsum cumprod softmax log_softmax any all count_nonzero bincount mm addmm matmul linear
    add sub div pow neg abs maximum minimum clamp clamp_min clamp_max complex polar
    var.correction var.dim var std.correction std.dim std
"""

for _names in (_QUESTIONS, _MAKERS, _CASTS, _MOVES, _COMPUTING):
    for _name in _names.split():
        _C._takes_stored_only(records[_name].op)
        if _name + "_" in inplace_records:
            _C._takes_stored_only(inplace_records[_name + "_"])
