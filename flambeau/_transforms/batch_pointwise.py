"""Rules of operators that work element by element."""

import flambeau

from .. import _C
from .._ops.registry import inplace_records, records
from .batching import Tensor, padded, rank, register_rule, rule

_call = _C._call

#: Pointwise operators outside the pointwise family.
_OTHERS = """
    add sub div pow neg abs frexp maximum minimum clamp clamp_min clamp_max where where.method round
    _nan_to_num gelu_backward gelu logit polygamma complex polar lerp addcdiv
"""


def broadcast(op, values, dims, size):
    """Examples in front of every operand, and one example's dimensions aligned."""
    # Operands that the operator may take as numbers stay tensors here: only these have a dimension.
    operands = [i for i, v in enumerate(values) if isinstance(v, Tensor)]
    if len(operands) == 1:
        return _call(op, values), dims[operands[0]]
    ndim = max([rank(values[i], dims[i]) for i in operands])
    out = list(values)
    for i in operands:
        if dims[i] is not None:
            out[i] = padded(values[i], dims[i], ndim)
    _keep_promotion(out, values, dims, operands, ndim)
    return _call(op, tuple(out)), 0


def _keep_promotion(out, values, dims, operands, ndim):
    """One element per example has no say over dtypes where others have dimensions; a batch of them would have."""
    if ndim == 0 or len({values[i].dtype for i in operands}) == 1:
        return
    small = [i for i in operands if dims[i] is not None and rank(values[i], dims[i]) == 0]
    if not small:
        return
    if ndim > 0 and all(rank(values[i], dims[i]) == 0 for i in operands):
        return
    for i in small:
        others = [values[j] for j in operands if rank(values[j], dims[j]) > 0]
        common = others[0].dtype
        for other in others[1:]:
            common = flambeau.promote_types(common, other.dtype)
        example = flambeau.empty(1, dtype=common, device="meta")
        element = flambeau.empty((), dtype=values[i].dtype, device="meta")
        if values[i].dtype != flambeau.bool or common == flambeau.bool:
            out[i] = out[i].to(flambeau.result_type(example, element))


def in_place(op, values, dims, size):
    """The written operand keeps its memory: the others are aligned with it."""
    own = dims[0]
    target = values[0]
    if own is None:
        _call(op, values)
        return target, None
    target = target.movedim(own, 0) if own else target
    ndim = target.ndim - 1
    out = [target]
    for value, dim in zip(values[1:], dims[1:], strict=True):
        if isinstance(value, Tensor) and dim is not None:
            if rank(value, dim) > ndim:
                raise RuntimeError(
                    f"vmap: {op.__name__}: output with shape {list(target.shape[1:])} doesn't match the broadcast shape"
                )
            value = padded(value, dim, ndim)
        out.append(value)
    _call(op, tuple(out))
    return values[0], own


def unary(op, values, dims, size):
    """One tensor in, one of the same shape out: the examples stay where they are."""
    return _call(op, values), dims[0]


for _name, _record in records.items():
    if _record.family == "pointwise":
        register_rule(_name, broadcast)
for _name in _OTHERS.split():
    register_rule(_name, broadcast)
for _name in inplace_records:
    register_rule(_name, in_place)
for _name in (
    "fill_ zero_ _to to.dtype to float double half bfloat16 bool byte char short int long chalf cfloat cdouble cpu alias "
    "detach"
).split():
    register_rule(_name, in_place if _name in ("fill_", "zero_") else unary)


@rule("copy_")
def copy_(op, values, dims, size):
    """The source broadcasts to the tensor that is written."""
    return in_place(op, values, dims, size)


@rule("clone contiguous empty_like zeros_like ones_like full_like")
def layouts(op, values, dims, size):
    """A memory format of one example means that format with the examples in front."""
    position = next(i for i, name in enumerate(_parameters(op)) if name == "memory_format")
    fmt = values[position]
    if fmt is None or fmt is flambeau.preserve_format:
        if op.__name__ == "contiguous":
            value = values[0].movedim(dims[0], 0)
            return _call(op, (value, *values[1:])), 0
        return _call(op, values), dims[0]
    value = values[0].movedim(dims[0], 0)
    if fmt is not flambeau.contiguous_format:
        plain = (*values[:position], flambeau.contiguous_format, *values[position + 1 :])
        return _call(op, (value, *plain[1:])), 0
    return _call(op, (value, *values[1:])), 0


def _parameters(op):
    from .parameters import names

    return names(op)


@rule("to.other type_as")
def like_another(op, values, dims, size):
    """Only the other tensor's dtype counts."""
    if dims[0] is None:
        return _call(op, values), None
    return values[0].to(values[1].dtype), dims[0]


@rule("masked_fill")
def masked_fill(op, values, dims, size):
    """A value per example is chosen by `where`."""
    value, mask, number = values
    if dims[2] is None:
        return broadcast(op, values, dims, size)
    ndim = max(rank(value, dims[0]), rank(mask, dims[1]))
    value, mask, number = (padded(v, d, ndim) for v, d in zip(values, dims, strict=True))
    return flambeau.where(mask, number.to(value.dtype), value), 0


@rule("view_as_real")
def view_as_real(op, values, dims, size):
    """A new last dimension."""
    return _call(op, values), dims[0]


@rule("view_as_complex")
def view_as_complex(op, values, dims, size):
    """The last dimension goes."""
    value = values[0]
    value = value.movedim(dims[0], 0)
    return _call(op, (value if value.stride(-1) == 1 else value.contiguous(),)), 0


@rule("result_type is_floating_point is_complex is_signed is_inference get_device promote_types can_cast")
def about_types(op, values, dims, size):
    """What a dtype decides is the same for all examples."""
    if op.__name__ == "result_type":
        examples = tuple(
            flambeau.empty((1,) * min(rank(v, d), 1), dtype=v.dtype, device="meta")
            if isinstance(v, Tensor)
            else v
            for v, d in zip(values, dims, strict=True)
        )
        return _call(op, examples), None
    return _call(op, values), None


@rule("numel")
def numel(op, values, dims, size):
    """The elements of one example."""
    value, dim = values[0], dims[0]
    count = 1
    for i, n in enumerate(value.shape):
        count *= 1 if i == dim else n
    return count, None


@rule("is_same_size")
def is_same_size(op, values, dims, size):
    """Compares examples."""
    shapes = [[n for i, n in enumerate(v.shape) if i != d] for v, d in zip(values, dims, strict=True)]
    return shapes[0] == shapes[1], None


@rule("is_nonzero")
def is_nonzero(op, values, dims, size):
    """A truth value per example cannot be one of Python's."""
    raise RuntimeError(
        "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that: "
        "examples of a batch may differ. Use torch.where instead"
    )
