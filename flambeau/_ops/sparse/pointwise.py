"""Sums, products and functions that keep zeros, element by element."""

import math

import flambeau
from flambeau import _C

from .. import registry
from .._pointwise import conj
from .construct import at_values, with_values_of
from .convert import _coalesce, _values
from .core import (
    CSR,
    WORDS,
    as_coo,
    at_places,
    blocks_of,
    coalesced,
    coo,
    dense_coo,
    flat,
    form,
    from_coo,
    in_layout_of,
    is_coo,
    is_dense,
    parts,
    refuse,
    sum_groups,
    to_coo,
    unflat,
    values_of,
    with_values,
)


def _is_number(x):
    return not isinstance(x, flambeau.Tensor)


def deliver(result, out, name):
    """A form's result in `out`, if there is one: of the same layout, and of a dtype that holds it."""
    if out is None:
        return result
    if out.layout is not result.layout:
        raise RuntimeError(
            f"{name}(): expected out= to have layout {WORDS[result.layout]}, as the result has, but got {WORDS[out.layout]}"
        )
    if not flambeau.can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"{name}(): result type {result.dtype} can't be cast to the desired output type {out.dtype}"
        )
    if out.layout is flambeau.strided:
        return out.resize_(result.shape).copy_(result) if out.shape != result.shape else out.copy_(result)
    if result.dtype is not out.dtype:
        result = with_values(result, values_of(result).to(out.dtype))
    return _C._sparse_assign(out, result)


def _write(target, result, name):
    """An in-place form's result."""
    if target.shape != result.shape:
        raise RuntimeError(
            f"output with shape {list(target.shape)} doesn't match the broadcast shape {list(result.shape)}"
        )
    return deliver(result, target, name)


# ---- functions of one operand that map zero to zero

_UNARY = (
    "abs asin asinh atan atanh ceil conj_physical deg2rad erf erfinv expm1 floor frac log1p neg "
    "rad2deg relu round sgn sign sin "
    "sinh sqrt tan tanh trunc isinf isnan isposinf isneginf signbit angle _nan_to_num"
).split()
#: On COO tensors these work without adding up repeated places: they are linear.
_LINEAR = ("neg", "deg2rad", "rad2deg", "conj_physical")


def _unary(name):
    record = registry.records.get(name)
    if record is None:
        return
    function = record.op
    in_place = registry.inplace_records.get(name + "_")
    takes_out = "out=" in record.signature

    def apply(input, *options):
        out, options = (options[-1], options[:-1]) if takes_out else (None, options)
        if not isinstance(input, flambeau.Tensor) or is_dense(input) or (out is not None and is_dense(out)):
            raise RuntimeError(
                f"{name}(): expected a sparse input and, if there is one, a sparse out, but got a strided tensor"
            )
        if is_coo(input) and name not in _LINEAR:
            input = coalesced(input)
        values = _call(function, record, values_of(input), options)
        if values.numel() and values.data_ptr() == values_of(input).data_ptr():
            values = values.clone()
        return deliver(with_values(input, values), out, name)

    def apply_(input, *options):
        if is_coo(input) and name not in _LINEAR and not parts(input)[3]:
            raise RuntimeError(f"{name}_ requires coalesced input")
        values = _call(function, record, values_of(input), options)
        return deliver(with_values(input, values), input, name + "_")

    rule = _rule_on_values(function, record.vjp["input"]) if record.vjp else None
    form(name, vjp=rule)(apply)
    if in_place is not None:
        form(name + "_", vjp=rule)(apply_)


def _rule_on_values(function, rule):
    """The derivative of a function that keeps zeros: the dense rule on the values, at the places of the operand."""
    wanted = rule.__code__.co_varnames[: rule.__code__.co_argcount]

    def on_values(grad, input):
        pattern = coalesced(input.detach()) if is_coo(input) else input.detach()
        given = {"grad": at_values(grad, pattern)}
        if len(wanted) > 1:
            given["input"] = _values(_coalesce(input) if is_coo(input) else input)
        if "result" in wanted:
            given["result"] = function(given["input"])
        return with_values_of(pattern, rule(**{name: given[name] for name in wanted}))

    return {"input": on_values}


def _call(function, record, values, options):
    names = [
        part.split("=")[0].split()[-1]
        for part in record.signature[: record.signature.index(")")].split(",")[1:]
    ]
    given = dict(zip((n for n in names if n not in ("*", "out")), options, strict=False))
    return function(values, **given)


for _name in _UNARY:
    _unary(_name)


# ---- sums


def _scaled(values, alpha, dtype):
    values = values.to(dtype)
    return values if alpha == 1 else values * alpha


def _check_sum(input, other, alpha, name):
    for t in (input, other):
        if not isinstance(t, flambeau.Tensor):
            raise RuntimeError(
                f"{name}(sparse, dense) is not supported. Use add(dense, sparse) instead, or mul for a number: got a number"
            )
    dtype = flambeau.result_type(input, other)
    if isinstance(alpha, complex) and not dtype.is_complex:
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex number.")
    if isinstance(alpha, float) and not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return dtype


def _sum(input, other, alpha, name="add"):
    """input + alpha * other, one of them sparse at least."""
    dtype = _check_sum(input, other, alpha, name)
    if is_dense(input):
        return add_to_dense(input, other, alpha, dtype)
    if is_dense(other):
        if is_coo(input):
            raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
        other = other if alpha == 1 else other * alpha
        return add_to_dense(other, input, 1, dtype)
    if input.shape != other.shape:
        raise RuntimeError(
            f"add: expected sizes of 'self' and 'other' to match, but {list(input.shape)} != {list(other.shape)}"
        )
    if input.layout is not other.layout:
        raise RuntimeError(
            f"add: sparse operands must have the same layout, got {WORDS[input.layout]} and {WORDS[other.layout]}"
        )
    if not is_coo(input):
        (starts, plain, own, _), (starts_b, plain_b, others, _) = parts(input), parts(other)
        same = own.shape == others.shape and plain.shape == plain_b.shape
        if same and bool((plain == plain_b).all() and (starts == starts_b).all()):
            return with_values(input, own.to(dtype) + _scaled(others, alpha, dtype))
        a, b = as_coo(input), as_coo(other)
        indices = flambeau.cat((parts(a)[0], parts(b)[0]), 1)
        values = flambeau.cat((values_of(a).to(dtype), _scaled(values_of(b), alpha, dtype)))
        return from_coo(coo(indices, values, input.shape), input.layout, blocks_of(input))
    a, _, a_values, a_done = parts(input)
    b, _, b_values, b_done = parts(other)
    if a.size(0) != b.size(0):
        raise RuntimeError(
            f"add: expected 'self' and 'other' to have same number of sparse dimensions, but got {a.size(0)} and {b.size(0)}"
        )
    a_values, b_values = a_values.to(dtype), _scaled(b_values, alpha, dtype)
    if a.shape == b.shape and bool((a == b).all()):
        return coo(a.clone(), a_values + b_values, input.shape, a_done and b_done)
    indices, values = flambeau.cat((a, b), 1), flambeau.cat((a_values, b_values))
    if a_done and b_done and a.size(0):
        sizes = input.shape[: a.size(0)]
        places, values = sum_groups(flat(indices, sizes), values)
        return coo(unflat(places, sizes), values, input.shape, True)
    return coo(indices, values, input.shape)


def add_to_dense(dense, sparse, alpha, dtype):
    """A fresh strided tensor dense + alpha * sparse."""
    if dense.shape != sparse.shape:
        raise RuntimeError(
            f"add: expected 'self' and 'other' to have same size, but self has size {list(dense.shape)} "
            f"while other has size "
            f"{list(sparse.shape)} (FYI: op2-sparse addition does not currently support broadcasting)"
        )
    out = flambeau.empty_like(dense, dtype=dtype, memory_format=flambeau.contiguous_format).copy_(dense)
    return add_into_dense(out, sparse, alpha)


def add_into_dense(dense, sparse, alpha):
    """dense += alpha * sparse, and `dense`; its shape is that of `sparse`."""
    t = to_coo(sparse)
    indices, _, values, _ = parts(t)
    count = indices.size(0)
    if values.numel() == 0:
        return dense
    if values.dtype is not dense.dtype:
        values = values.to(dense.dtype)
    sizes = t.shape[:count]
    places = flat(indices, sizes) if count else indices.new_zeros((indices.size(1),))
    if count == 1:
        return dense.index_add_(0, places, values, alpha=alpha)
    if not dense.is_contiguous():
        return dense.copy_(add_into_dense(dense.contiguous(), sparse, alpha))
    dense.view(math.prod(sizes), *t.shape[count:]).index_add_(0, places, values, alpha=alpha)
    return dense


@form("add")
def _add(input, other, alpha, out):
    return deliver(_sum(input, other, alpha), out, "add")


@form("sub")
def _sub(input, other, alpha, out):
    if flambeau.bool in [t.dtype for t in (input, other) if isinstance(t, flambeau.Tensor)]:
        raise RuntimeError("Subtraction, the `-` operator, with a bool tensor is not supported.")
    return deliver(_sum(input, other, -alpha), out, "sub")


@form("add_")
def _add_in_place(input, other, alpha):
    if is_dense(input):
        dtype = _check_sum(input, other, alpha, "add")
        if not flambeau.can_cast(dtype, input.dtype):
            raise RuntimeError(f"result type {dtype} can't be cast to the desired output type {input.dtype}")
        if input.shape != other.shape:
            raise RuntimeError(
                f"add: expected 'self' and 'other' to have same size, but self has size {list(input.shape)} while other has "
                f"size {list(other.shape)} (FYI: op2-sparse addition does not currently support broadcasting)"
            )
        return add_into_dense(input, other, alpha)
    return _write(input, _sum(input, other, alpha), "add_")


@form("sub_")
def _sub_in_place(input, other, alpha):
    return _add_in_place(input, other, -alpha)


# ---- products and quotients


def _zero_dim(x):
    return _is_number(x) or x.dim() == 0


def _product(input, other):
    if _is_number(input) or (is_dense(input) and not is_dense(other)):
        input, other = other, input  # the sparse one first
    if _zero_dim(other) and (_is_number(other) or is_dense(other)):
        return with_values(input, values_of(input) * other)
    if is_dense(other):
        return _product_with_dense(input, other)
    if _zero_dim(input) and not _zero_dim(other):
        input, other = other, input
    if _zero_dim(other):
        return with_values(input, values_of(input) * dense_coo(to_coo(other)))
    if not is_coo(input):
        a, b = coalesced(to_coo(input)), coalesced(to_coo(other))
        return in_layout_of(_intersection(a, b), input)
    if not is_coo(other):
        raise RuntimeError(
            f"mul: expected two tensors of one sparse layout, got Sparse and {WORDS[other.layout]}"
        )
    return _intersection(input, other)


def _intersection(a, b):
    """The product of two COO tensors: at places that both specify."""
    (ai, _, av, a_done), (bi, _, bv, b_done) = parts(a), parts(b)
    if a.shape != b.shape or ai.size(0) != bi.size(0):
        raise RuntimeError(
            "mul(): expects sparse inputs with equal dimensionality, number of sparse dimensions, and shape of sparse "
            f"dimensions, got {list(a.shape)} with {ai.size(0)} and {list(b.shape)} with {bi.size(0)}"
        )
    if ai.shape == bi.shape and bool((ai == bi).all()) and a_done and b_done:
        return coo(ai.clone(), av * bv, a.shape, True)
    if a_done and not b_done:
        return _intersection(b, a)
    if not a_done and not b_done:
        a = coalesced(a)
        ai, _, av, a_done = parts(a)
    b = coalesced(b)
    bi, _, bv, _ = parts(b)
    sizes = a.shape[: ai.size(0)]
    if ai.size(0) == 0:
        return coo(ai.clone(), av * bv if av.size(0) and bv.size(0) else av[:0] * bv[:0], a.shape)
    wanted, known = flat(ai, sizes), flat(bi, sizes)
    if known.numel() == 0 or wanted.numel() == 0:
        return coo(ai[:, :0], av[:0] * bv[:0], a.shape, True)
    at = flambeau.searchsorted(known, wanted).clamp(max=known.numel() - 1)
    both = known.index_select(0, at) == wanted
    return coo(ai[:, both], av[both] * bv.index_select(0, at[both]), a.shape, a_done)


def _product_with_dense(input, dense):
    size = flambeau.broadcast_shapes(tuple(input.shape), tuple(dense.shape))
    if tuple(size) != tuple(input.shape):
        raise RuntimeError(
            f"mul(sparse, dense): the sparse operand of size {list(input.shape)} would have to be broadcast "
            f"to {list(size)}, "
            "which is not supported"
        )
    dense = dense.expand(tuple(size))
    indices, plain, values, _ = parts(input)
    if plain is not None:
        return with_values(input, values * at_values(dense, input))
    count = indices.size(0)
    if values.size(0) == 0:
        return with_values(input, values.to(flambeau.result_type(values, dense)))
    if count == 0:
        return with_values(input, values * dense)
    # Only the elements wanted are read: a dimension that was broadcast stays so.
    picked = dense[tuple(_checked(indices, size))] if count > 1 else at_places(dense, indices, size)
    return with_values(input, values * picked)


def _checked(indices, size):
    flat(indices, size[: indices.size(0)])
    return indices


@form("mul")
def _mul(input, other, out):
    return deliver(_product(input, other), out, "mul")


@form("mul_")
def _mul_in_place(input, other):
    if is_dense(input):
        product = to_coo(_product(other, input))
        return _write(input, dense_coo(product).to(input.dtype), "mul_")
    return _write(input, _product(input, other), "mul_")


def _quotient(input, other, rounding_mode, name="div"):
    if _is_number(input) or is_dense(input) or not _zero_dim(other):
        shape = list(other.shape) if isinstance(other, flambeau.Tensor) else "a number"
        raise RuntimeError(
            f"Sparse division requires a scalar or zero-dim dense tensor divisor (got shape {shape} for divisor)"
        )
    if not _is_number(other) and not is_dense(other):
        raise RuntimeError(
            "Sparse division requires a scalar or zero-dim dense tensor divisor (got a sparse one)"
        )
    if not is_coo(input) and input.layout is not CSR:
        refuse(name, input)
    if rounding_mode is not None:
        input = coalesced(input) if is_coo(input) else input
    return with_values(input, flambeau.div(values_of(input), other, rounding_mode=rounding_mode))


@form("div")
def _div(input, other, rounding_mode, out):
    return deliver(_quotient(input, other, rounding_mode), out, "div")


@form("div_")
def _div_in_place(input, other, rounding_mode):
    return _write(input, _quotient(input, other, rounding_mode), "div_")


@form("true_divide")
def _true_divide(input, other, out):
    return deliver(_quotient(input, other, None), out, "true_divide")


@form("floor_divide")
def _floor_divide(input, other, out):
    return deliver(_quotient(input, other, "floor"), out, "floor_divide")


def _pow_vjp(grad, input, exponent):
    pattern = coalesced(input.detach())
    slope = exponent * _values(_coalesce(input)) ** (exponent - 1)
    return with_values_of(pattern, at_values(grad, pattern) * conj(slope))


@form("pow", vjp={"input": _pow_vjp})
def _pow(input, exponent, out):
    if _is_number(input) or not is_coo(input) or not _is_number(exponent):
        refuse("pow", exponent if _is_number(input) else input)
    if exponent == 0:
        raise RuntimeError(
            "pow: cannot raise to zeroth power on sparse tensor; it would make the result tensor dense"
        )
    input = coalesced(input)
    return deliver(with_values(input, values_of(input) ** exponent), out, "pow")


# ---- random values at the same places


@form("randn_like")
def _randn_like(input, generator, dtype, layout, device, pin_memory, requires_grad, *memory_format):
    values = values_of(input)
    return with_values(
        input, flambeau.randn(values.shape, generator=generator, dtype=dtype or values.dtype)
    ).requires_grad_(requires_grad)
