"""Rules of operators that name dimensions: reductions, scans, views, joins. Examples go to the front, dimensions one up."""

import flambeau

from .. import _C
from .._ops.registry import records
from .batch_index import index_select
from .batching import (
    Tensor,
    batched_front,
    by_example,
    front,
    rank,
    register_rule,
    rule,
    wrapped_dim,
)
from .parameters import names

_call = _C._call


def _up(dim, ndim):
    return wrapped_dim(dim, ndim) + 1


def _narrow_result(result, value_rank):
    """A number per example was treated as a row of one: the row's dimension goes again."""
    if value_rank:
        return result
    if isinstance(result, Tensor):
        return result.squeeze(1) if result.ndim > 1 else result
    return tuple(r.squeeze(1) if isinstance(r, Tensor) and r.ndim > 1 else r for r in result)


def along(*dim_names, whole=False):
    """The rule of an operator of one tensor with such parameters; None stands for all dimensions, as an empty list does.

    whole: the operator takes one dimension only, and None for all of them flattened.
    """

    def run(op, values, dims, size):
        parameters = names(op)
        value = front(values[0], dims[0])
        n = value.ndim - 1
        if n == 0:
            value = value.unsqueeze(1)
        out = [value, *values[1:]]
        squeeze = n
        for name in dim_names:
            i = parameters.index(name)
            given = values[i]
            if given is None or (isinstance(given, (tuple, list)) and not given):
                if whole:
                    keep = "keepdim" in parameters and values[parameters.index("keepdim")]
                    out[0] = value.reshape(value.shape[0], -1)
                    out[i] = 1
                    result = _call(op, tuple(out))
                    if keep:
                        shape = (size, *(1,) * n)
                        result = result.reshape(shape)
                    return result, 0
                out[i] = tuple(range(1, max(n, 1) + 1))
            elif isinstance(given, (tuple, list)):
                out[i] = tuple(_up(int(d), n) for d in given)
            else:
                out[i] = _up(int(given), n)
        return _narrow_result(_call(op, tuple(out)), squeeze), 0

    return run


for _name in (
    "sum nansum mean any all count_nonzero amax amin max.dim min.dim var.correction var.dim std.correction std.dim "
    "var_mean.correction var_mean.dim std_mean.correction std_mean.dim cumsum cumprod logcumsumexp cummax cummin sort "
    "argsort topk kthvalue median.dim nanmedian.dim mode softmax log_softmax linalg_vector_norm"
).split():
    register_rule(_name, along("dim"))
for _name in "prod argmax argmin aminmax".split():
    register_rule(_name, along("dim", whole=True))
for _name in "_fft_c2c _fft_r2c _fft_c2r".split():
    register_rule(_name, along("dim"))


@rule("flip")
def flip(op, values, dims, size):
    """No dimensions: nothing is turned."""
    value = front(values[0], dims[0])
    n = value.ndim - 1
    chosen = (values[1],) if isinstance(values[1], int) else values[1]
    if n == 0:
        return value.clone(), 0
    return _call(op, (value, tuple(_up(d, n) for d in chosen))), 0


@rule("max min median nanmedian")
def of_all(op, values, dims, size):
    """All elements of an example."""
    value = front(values[0], dims[0]).reshape(size, -1)
    name = op.__name__
    method = {"max": "amax", "min": "amin"}.get(name)
    if method:
        return getattr(value, method)(1), 0
    return getattr(flambeau, name)(value, 1).values, 0


@rule("var std var_mean std_mean")
def moments(op, values, dims, size):
    """All elements of an example, with the one option that these have."""
    value = front(values[0], dims[0]).reshape(size, -1)
    return getattr(flambeau, op.__name__)(value, dim=1, correction=int(values[1])), 0


@rule("_softmax_backward _log_softmax_backward")
def softmax_backward(op, values, dims, size):
    """Both tensors have the same dimensions."""
    grad, output, dim = values
    n = rank(grad, dims[0])
    grad, output = batched_front(grad, dims[0], size), batched_front(output, dims[1], size)
    if n == 0:
        return _call(op, (grad.unsqueeze(1), output.unsqueeze(1), 1)).squeeze(1), 0
    return _call(op, (grad, output, _up(dim, n))), 0


# ---- views ---------------------------------------------------------------------------------------------------------


def _example_shape(value):
    return tuple(value.shape[1:])


@rule("view reshape")
def view(op, values, dims, size):
    """The size of one example, after the examples."""
    value = front(values[0], dims[0])
    shape = tuple(int(s) for s in values[1])
    if -1 in shape:
        count = 1
        for n in _example_shape(value):
            count *= n
        known = 1
        for s in shape:
            known *= 1 if s == -1 else s
        if shape.count(-1) == 1 and known and count % known == 0:
            shape = tuple(count // known if s == -1 else s for s in shape)
    if not size:
        return _call(op, (value, (0, *shape))), 0
    return _call(op, (value, (value.shape[0], *shape))), 0


@rule("view.dtype")
def view_dtype(op, values, dims, size):
    """The last dimension changes its size."""
    value = front(values[0], dims[0])
    return _call(op, (value, values[1])), 0


@rule("expand")
def expand(op, values, dims, size):
    """New dimensions come between the examples and the dimensions of one."""
    value = front(values[0], dims[0])
    shape = tuple(int(s) for s in values[1])
    missing = len(shape) - (value.ndim - 1)
    if missing < 0:
        raise RuntimeError(
            f"expand: the number of sizes provided ({len(shape)}) must be greater or equal to the number of dimensions in "
            f"the tensor ({value.ndim - 1})"
        )
    for _ in range(missing):
        value = value.unsqueeze(1)
    return _call(op, (value, (value.shape[0], *shape), *values[2:])), 0


@rule("permute")
def permute(op, values, dims, size):
    """Dimension 0 stays."""
    value = front(values[0], dims[0])
    n = value.ndim - 1
    return _call(op, (value, (0, *(_up(d, n) for d in values[1])))), 0


@rule("transpose")
def transpose(op, values, dims, size):
    """Two dimensions of one example."""
    value = front(values[0], dims[0])
    n = value.ndim - 1
    d0, d1 = _up(values[1], n), _up(values[2], n)
    return (value.view_as(value) if n == 0 else _call(op, (value, d0, d1))), 0


@rule("t")
def t(op, values, dims, size):
    """Of an example with at most two dimensions."""
    value = front(values[0], dims[0])
    if value.ndim > 3:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {value.ndim - 1}D")
    return (value.transpose(1, 2) if value.ndim == 3 else value.view_as(value)), 0


def one_dim(position):
    """The rule of views along one dimension."""

    def run(op, values, dims, size):
        value = front(values[0], dims[0])
        n = value.ndim - 1
        if n == 0:
            return by_example(op, values, dims, size)
        out = [value, *values[1:]]
        out[position] = _up(values[position], n)
        return _call(op, tuple(out)), 0

    return run


for _name in "select slice narrow unfold unbind split_with_sizes unsafe_split_with_sizes".split():
    register_rule(_name, one_dim(2 if "split" in _name else 1))


@rule("narrow.Tensor")
def narrow_tensor(op, values, dims, size):
    """A start per example is a row of indices per example."""
    value, dim, start, length = values
    if dims[2] is not None:
        n = rank(value, dims[0])
        start = front(start, dims[2]).reshape(size, 1)
        extent = value.movedim(dims[0], 0).shape[1:] if dims[0] is not None else value.shape
        start = start.where(start >= 0, start + extent[wrapped_dim(dim, n)])
        places = start + flambeau.arange(length, device=start.device)
        picked = (value, dim, places, None), (dims[0], None, 0, None)
        return index_select(records["index_select"].op, *picked, size)
    value = front(value, dims[0])
    return _call(op, (value, _up(dim, value.ndim - 1), start, length)), 0


@rule("unsqueeze")
def unsqueeze(op, values, dims, size):
    """A new dimension of one example."""
    value = front(values[0], dims[0])
    return _call(op, (value, wrapped_dim(values[1], value.ndim) + 1)), 0


@rule("squeeze")
def squeeze(op, values, dims, size):
    """Not the examples' dimension, even where there is one example."""
    value = front(values[0], dims[0])
    n = value.ndim - 1
    given = values[1]
    if given is None:
        chosen = [i for i in range(1, n + 1) if value.shape[i] == 1]
    else:
        chosen = [_up(d, n) for d in ((given,) if isinstance(given, int) else given)]
    if n == 0 or not chosen:
        return value.view_as(value), 0
    return _call(op, (value, tuple(chosen))), 0


@rule("diagonal")
def diagonal(op, values, dims, size):
    """Of two dimensions of one example."""
    value = front(values[0], dims[0])
    n = value.ndim - 1
    return _call(op, (value, values[1], _up(values[2], n), _up(values[3], n))), 0


@rule("as_strided")
def as_strided(op, values, dims, size):
    """Strides of one example are those of what it stands for."""
    value, shape, strides, offset = values
    dim = dims[0]
    offset = value.storage_offset() if offset is None else offset
    return _call(op, (value, (value.shape[dim], *shape), (value.stride(dim), *strides), offset)), 0


@rule("new_empty_strided")
def new_empty_strided(op, values, dims, size):
    """One example after another, each with these strides."""
    value, shape, strides, *rest = values
    span = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if all(shape) else 1
    return _call(op, (value, (size, *shape), (span, *strides), *rest)), 0


@rule("new_empty new_zeros new_ones new_full")
def new(op, values, dims, size):
    """As many as there are examples, so that they can be written."""
    return _call(op, (values[0], (size, *values[1]), *values[2:])), 0


@rule("tril triu constant_pad_nd")
def last_dims(op, values, dims, size):
    """What counts dimensions from the end."""
    value = front(values[0], dims[0])
    if op.__name__ in ("tril", "triu") and value.ndim < 3:
        raise RuntimeError(f"{op.__name__}: input tensor must have at least 2 dimensions")
    if op.__name__ == "constant_pad_nd" and len(values[1]) > 2 * (value.ndim - 1):
        raise RuntimeError(
            f"Length of pad should be no more than twice the number of dimensions of the input. Pad length is "
            f"{len(values[1])} while the input has {value.ndim - 1} dimensions."
        )
    return _call(op, (value, *values[1:])), 0


@rule("repeat")
def repeat(op, values, dims, size):
    """New dimensions come between the examples and the dimensions of one."""
    value = front(values[0], dims[0])
    repeats = values[1]
    for _ in range(len(repeats) - (value.ndim - 1)):
        value = value.unsqueeze(1)
    return _call(op, (value, (1, *repeats))), 0


@rule("roll")
def roll(op, values, dims, size):
    """Without dimensions, all elements of an example are one row."""
    value = front(values[0], dims[0])
    n = value.ndim - 1
    shifts, chosen = values[1], values[2]
    if not isinstance(chosen, int) and not chosen:
        flat = value.reshape(size, -1)
        return _call(op, (flat, shifts, (1,))).reshape(value.shape), 0
    chosen = (chosen,) if isinstance(chosen, int) else chosen
    if n == 0:
        return value, 0
    return _call(op, (value, shifts, tuple(_up(d, n) for d in chosen))), 0


@rule("transpose_")
def transpose_(op, values, dims, size):
    """The dimensions of the example change places in what it stands for."""
    return _window_in_place(op, values, dims, size)


@rule("unsqueeze_ _as_strided_ resize_ resize_as_ _set_storage")
def _window_in_place(op, values, dims, size):
    raise RuntimeError(
        f"vmap: {op.__name__.removeprefix('_')} changes the shape of a tensor in place, which is not supported inside "
        "vmap. Use the form that returns a new tensor"
    )


# ---- joining -------------------------------------------------------------------------------------------------------


@rule("cat stack")
def join(op, values, dims, size):
    """Examples in front of every tensor."""
    tensors = [batched_front(v, d, size) for v, d in zip(values[0], dims[0], strict=True)]
    if op.__name__ == "stack":
        dim = wrapped_dim(values[1], tensors[0].ndim) + 1
    else:
        ranks = [t.ndim - 1 for t in tensors]
        # cat leaves out empty rows of one dimension, whatever the others' rank.
        full = max(ranks)
        kept = [t for t in tensors if not (t.ndim == 2 and full > 1 and t.shape[1] == 0)]
        tensors = kept or tensors
        if full == 0:
            raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
        dim = _up(values[1], full)
    return _call(op, (tuple(tensors), dim, *values[2:])), 0


@rule("linspace.Tensor_Tensor logspace.Tensor_Tensor")
def ranges(op, values, dims, size):
    """One range after another."""
    return by_example(op, values, dims, size)
