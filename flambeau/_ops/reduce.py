"""Reductions over all elements or along dimensions, and scans along one."""

import math

from .arithmetic import conj
from .outputs import deliver
from .registry import _publish, composite, functions, methods, op, records, takes
from .truth import any_true

_REDUCED = """

    dim: the dimension or dimensions to reduce; all of them by default. keepdim: keep reduced dimensions with size 1.
"""


def _dims(dim, ndim):
    """`dim` as a sorted list of dimensions counted from the front; None and () mean all."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return list(range(ndim))
    given = (dim,) if isinstance(dim, int) else dim
    return sorted(d + ndim if d < 0 else d for d in given) if ndim else []


def _keep(t, shape, dim, keepdim):
    """`t`, the result of a reduction, with the reduced dimensions back as size 1."""
    if keepdim or t is None:
        return t
    for d in _dims(dim, len(shape)):
        t = t.unsqueeze(d)
    return t


def _spread(grad, shape, dim, keepdim):
    """The gradient of a reduction's result, given to every element that went into it."""
    return _keep(grad, shape, dim, keepdim).expand(shape)


def _count(shape, dim):
    n = 1
    for d in _dims(dim, len(shape)):
        n *= shape[d]
    return n


# ---- sums and products ----------------------------------------------------------------------------------------------

_SUM = (
    "(Tensor input, int[1]? dim=None, bool keepdim=False, *, dtype? dtype=None, Tensor? out=None) -> Tensor"
)

op(
    "sum" + _SUM,
    """Sum of the elements. Integers and bool are summed in int64; the error of a floating sum grows with the logarithm of
    its length, and its bits do not depend on the number of threads.
    """
    + _REDUCED
    + """
    >>> flambeau.sum(flambeau.ones(2, 3), 0)
    tensor([2., 2., 2.])
    """,
    vjp={"input": lambda grad, input_shape, dim, keepdim: _spread(grad, input_shape, dim, keepdim)},
)
op(
    "nansum" + _SUM,
    """Sum of the elements, NaN counting as zero."""
    + _REDUCED
    + """
    >>> flambeau.nansum(flambeau.tensor([1.0, float("nan")]))
    tensor(1.)
    """,
    vjp={
        "input": lambda grad, input, dim, keepdim: _spread(grad, input.shape, dim, keepdim) * ~input.isnan()
    },
)
op(
    "mean" + _SUM,
    """Arithmetic mean of the elements of a floating point or complex tensor (or with such a `dtype`)."""
    + _REDUCED
    + """
    >>> flambeau.mean(flambeau.tensor([1.0, 3.0]))
    tensor(2.)
    """,
    vjp={
        "input": lambda grad, input_shape, dim, keepdim: (
            _spread(grad, input_shape, dim, keepdim) / _count(input_shape, dim)
        )
    },
)


@composite(method=True)
@takes(
    "nanmean(Tensor input, int[1]? dim=None, bool keepdim=False, *, dtype? dtype=None, Tensor? out=None)",
)
def nanmean(input, dim=None, keepdim=False, *, dtype=None, out=None):
    """Arithmetic mean of what is not NaN.

    >>> flambeau.nanmean(flambeau.tensor([1.0, float("nan"), 3.0]))
    tensor(2.)
    """
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype}"
        )
    count = (~input.isnan()).sum(dim, keepdim)
    return deliver(input.nansum(dim, keepdim, dtype=dtype) / count, out, "nanmean")


def _products_of_others(x, dim):
    """For each element along `dim`, the product of all the others: right with zeros, too."""
    n = x.size(dim)
    one = x.new_ones(()).expand(*x.shape[:dim], 1, *x.shape[dim + 1 :])
    from .. import cat

    before = cat([one, x.narrow(dim, 0, n - 1)], dim).cumprod(dim)
    after = cat([one, x.narrow(dim, 1, n - 1).flip(dim)], dim).cumprod(dim).flip(dim)
    return before * after


def _prod_vjp(grad, input, dim, keepdim):
    shape = input.shape
    if len(shape) == 0:
        return grad
    if input.numel() == 0:
        return input * 0
    if dim is None:
        others = _products_of_others(input.reshape(-1), 0).reshape(shape)
        return grad.expand(shape) * conj(others)
    (d,) = _dims(dim, len(shape))
    return _spread(grad, shape, dim, keepdim) * conj(_products_of_others(input, d))


op(
    "prod(Tensor input, int? dim=None, bool keepdim=False, *, dtype? dtype=None, Tensor? out=None) -> Tensor",
    """Product of the elements, of all or along the dimension `dim`. Integers and bool are multiplied in int64.

    >>> flambeau.prod(flambeau.tensor([2.0, 3.0]))
    tensor(6.)
    """,
    vjp={"input": _prod_vjp},
)

# ---- truth ----------------------------------------------------------------------------------------------------------

for _name, _meaning in (("any", "Whether any element is"), ("all", "Whether all elements are")):
    op(
        f"{_name}(Tensor input, int[1]? dim=None, bool keepdim=False, *, Tensor? out=None) -> Tensor",
        f"{_meaning} nonzero. The result is bool, or uint8 for uint8; dim=() reduces nothing.{_REDUCED}",
        why_not="not differentiable",
    )
op(
    "count_nonzero(Tensor input, int[1]? dim=None) -> Tensor",
    """How many elements are not zero, as int64, of all or along the dimensions `dim`.

    >>> flambeau.count_nonzero(flambeau.tensor([0, 2, 3]))
    tensor(2)
    """,
    why_not="not differentiable",
)

# ---- extrema --------------------------------------------------------------------------------------------------------


def _shared_vjp(grad, input, result, dim=None, keepdim=False):
    """Elements that share an extremum share its gradient."""
    hit = input == _keep(result, input.shape, dim, keepdim)
    if input.is_floating_point():
        hit = hit | (input.isnan() & _keep(result, input.shape, dim, keepdim).isnan())
    shares = hit.sum(_dims(dim, input.dim()), keepdim=True) if input.dim() else 1
    return hit * (_keep(grad, input.shape, dim, keepdim) / shares)


def _picked_vjp(grad, input_shape, indices, dim, keepdim):
    """The gradient goes to the one element that was picked."""
    if len(input_shape) == 0:
        return grad
    (d,) = _dims(dim, len(input_shape))
    if not keepdim:
        grad, indices = grad.unsqueeze(d), indices.unsqueeze(d)
    return grad.new_zeros(input_shape).scatter_add(d, indices, grad)


for _name, _word, _amax in (("max", "largest", "amax"), ("min", "smallest", "amin")):
    op(
        f"{_name}(Tensor input, *, Tensor? out=None) -> Tensor",
        f"The {_word} element; NaN if there is one. Elements that are equally {_word} share the gradient.",
        impl=f"{_name}_all",
        vjp={"input": lambda grad, input, result: _shared_vjp(grad, input, result)},
    )
    # max(a, b) of two tensors is `maximum`.
    for _table in (functions, methods):
        _publish(_table, _name, records[f"{_name}imum"].op)
    op(
        f"{_name}.dim(Tensor input, int dim, bool keepdim=False, *, Tensor[]? out=None)"
        " -> (Tensor values, Tensor indices)",
        f"The {_word} element along `dim` and its index (the first one's of equals; a NaN counts as the {_word}).",
        impl=f"{_name}_dim",
        vjp={"input": _picked_vjp},
    )
    op(
        f"{_amax}(Tensor input, int[1]? dim=(), bool keepdim=False, *, Tensor? out=None) -> Tensor",
        f"The {_word} element, NaN if there is one; equals share the gradient.{_REDUCED}",
        vjp={"input": _shared_vjp},
    )
    op(
        f"arg{_name}(Tensor input, int? dim=None, bool keepdim=False, *, Tensor? out=None) -> Tensor",
        f"The index of the {_word} element along `dim`, or in the flattened tensor; the first of equals, a NaN before all.",
        why_not="not differentiable",
    )


def _aminmax_vjp(grads, input, results, dim, keepdim):
    parts = [
        _shared_vjp(g, input, r, dim, keepdim) for g, r in zip(grads, results, strict=True) if g is not None
    ]
    return sum(parts[1:], parts[0])


op(
    "aminmax(Tensor input, *, int? dim=None, bool keepdim=False, Tensor[]? out=None) -> (Tensor min, Tensor max)",
    """The smallest and the largest element, of all or along the dimension `dim`.

    >>> flambeau.aminmax(flambeau.tensor([1.0, 3.0, 2.0])).max
    tensor(3.)
    """,
    vjp={"input": _aminmax_vjp},
)

# ---- moments --------------------------------------------------------------------------------------------------------


def _var_vjp(grad, input, dim=None, correction=None, keepdim=False):
    divisor = max(_count(input.shape, dim) - (1 if correction is None else float(correction)), 0)
    centred = input - input.mean(_dims(dim, input.dim()), keepdim=True) if input.dim() else input * 0
    scale = 2 / divisor if divisor else float("nan") if input.numel() <= 1 else float("inf")
    return _keep(grad, input.shape, dim, keepdim) * (centred * scale)


def _std_vjp(grad, input, result, dim=None, correction=None, keepdim=False):
    # The divisor is masked, not the quotient: 0 times an infinity would be NaN in the derivative in `grad`.
    half = grad / (result * 2).masked_fill(result == 0, float("inf"))
    return _var_vjp(half, input, dim, correction, keepdim)


def _with_mean(spread_vjp):
    def vjp(grads, input, results, dim=None, correction=None, keepdim=False):
        total = 0
        if grads[0] is not None:
            extra = (results[0],) if spread_vjp is _std_vjp else ()
            total = spread_vjp(grads[0], input, *extra, dim, correction, keepdim)
        if grads[1] is not None:
            total = total + _spread(grads[1], input.shape, dim, keepdim) / _count(input.shape, dim)
        return total

    return vjp


# The derivative in each of the three signatures: dimensions named or not, correction as a number or as `unbiased`.
def _spread_rules(name, f):
    if name.endswith("_mean"):
        return (
            lambda grads, input, results, dim, correction, keepdim: f(
                grads, input, results, dim, correction, keepdim
            ),
            lambda grads, input, results, dim, unbiased, keepdim: f(
                grads, input, results, dim, unbiased, keepdim
            ),
            lambda grads, input, results, unbiased: f(grads, input, results, None, unbiased),
        )
    if name == "std":
        return (
            lambda grad, input, result, dim, correction, keepdim: f(
                grad, input, result, dim, correction, keepdim
            ),
            lambda grad, input, result, dim, unbiased, keepdim: f(
                grad, input, result, dim, unbiased, keepdim
            ),
            lambda grad, input, result, unbiased: f(grad, input, result, None, unbiased),
        )
    return (
        lambda grad, input, dim, correction, keepdim: f(grad, input, dim, correction, keepdim),
        lambda grad, input, dim, unbiased, keepdim: f(grad, input, dim, unbiased, keepdim),
        lambda grad, input, unbiased: f(grad, input, None, unbiased),
    )


for _name, _words, _rule in (
    ("var", "Variance", _var_vjp),
    ("std", "Standard deviation", _std_vjp),
    ("var_mean", "Variance and mean", _with_mean(_var_vjp)),
    ("std_mean", "Standard deviation and mean", _with_mean(_std_vjp)),
):
    _pair = _name.endswith("_mean")
    _out = "" if _pair else ", Tensor? out=None"
    _result = f"(Tensor {_name[:3]}, Tensor mean)" if _pair else "Tensor"
    _doc = (
        f"{_words} of the elements: squares of deviations are divided by n - correction (1 by default).{_REDUCED}"
        "    unbiased: the older way to say correction=1 (True) or correction=0 (False)."
    )
    _rules = _spread_rules(_name, _rule)
    op(
        f"{_name}.correction(Tensor input, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False{_out})"
        f" -> {_result}",
        _doc,
        impl=_name,
        vjp={"input": _rules[0]},
    )
    op(
        f"{_name}.dim(Tensor input, int[1]? dim, bool unbiased=True, bool keepdim=False"
        f"{', *' + _out if _out else ''}) -> {_result}",
        _doc,
        impl=_name,
        vjp={"input": _rules[1]},
    )
    op(
        f"{_name}(Tensor input, bool unbiased=True) -> {_result}",
        _doc,
        impl=f"{_name}_all",
        vjp={"input": _rules[2]},
    )

# ---- norms and logsumexp --------------------------------------------------------------------------------------------


def _vector_norm_vjp(grad, input, ord, dim, keepdim, result):
    if ord == 0:
        return None  # a count: as in PyTorch, nothing flows back
    grad, norm = _keep(grad, input.shape, dim, keepdim), _keep(result, input.shape, dim, keepdim)
    if ord == 1:
        return input.sgn() * grad
    if ord == 2:
        return input * (grad / norm.masked_fill(norm == 0, math.inf))
    if ord in (float("inf"), float("-inf")):
        size, dims = input.abs(), _dims(dim, input.dim())
        hit = size == (size.amax(dims, True) if ord > 0 else size.amin(dims, True))
        shares = hit.sum(dims, keepdim=True) if input.dim() else 1
        return input.sgn() * (hit * (grad / shares))
    # Where all is zero we divide by infinity: the quotient is zero then, and so are its own derivatives.
    if ord < 1:
        scale = grad * norm ** (1 - ord)
    else:
        scale = grad / norm.masked_fill(norm == 0, math.inf) ** (ord - 1)
    power = input.abs() ** (ord - 1)
    return input.sgn() * (power.masked_fill(input == 0, 0) if ord < 1 else power) * scale


op(
    "linalg_vector_norm(Tensor input, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, dtype? dtype=None,"
    " Tensor? out=None) -> Tensor",
    """The norm (sum |input|^ord)^(1/ord); ord may also be 0 (how many are nonzero), inf (largest) or -inf (smallest).""",
    method=False,
    vjp={"input": _vector_norm_vjp},
)


@composite(method=True)
@takes("logsumexp(Tensor input, int[1] dim, bool keepdim=False, *, Tensor? out=None)")
def logsumexp(input, dim, keepdim=False, *, out=None):
    """log(sum(exp(input))) along `dim`, computed without overflow.

    >>> flambeau.logsumexp(flambeau.zeros(2), 0)
    tensor(0.6931)
    """
    if not (input.is_floating_point() or input.is_complex()):
        from .. import get_default_dtype

        input = input.to(get_default_dtype())
    if input.numel() == 0:
        largest = 0
        total = input.exp().sum(dim, keepdim=True)
    else:
        largest = (input.real if input.is_complex() else input).detach().amax(dim, keepdim=True)
        largest = largest.masked_fill(largest.abs() == float("inf"), 0)
        total = (input - largest).exp().sum(dim, keepdim=True)
    result = total.log() + largest
    if not keepdim:
        for d in reversed(_dims(dim, input.dim())):
            result = result.squeeze(d)
    return deliver(result, out, "logsumexp")


# ---- scans ----------------------------------------------------------------------------------------------------------


def _reversed_cumsum(x, dim):
    return x.flip(dim).cumsum(dim).flip(dim) if x.dim() else x


def _cumprod_vjp(grad, input, result, dim):
    if input.dim() == 0 or input.numel() == 0:
        return grad
    if not any_true(input == 0):
        return _reversed_cumsum(grad * conj(result), dim) / conj(input)
    # Division fails at zeros: leave each element out in turn.
    from .. import stack

    n = input.size(dim)
    parts = []
    for i in range(n):
        rest = input.narrow(dim, i + 1, n - i - 1).cumprod(dim)
        before = input.narrow(dim, 0, i).prod(dim, keepdim=True)
        tail = grad.narrow(dim, i + 1, n - i - 1) * conj(rest)
        parts.append(conj(before).squeeze(dim) * (grad.select(dim, i) + tail.sum(dim)))
    return stack(parts, dim)


def _logcumsumexp_vjp(grad, input, result, dim):
    if input.dim() == 0:
        return grad
    low = float("-inf")
    # Before the first finite input the result is -inf, and so is the input: what is added to it must stay finite.
    result = result.masked_fill(result == low, 0)

    def half(part, present):
        logs = part.masked_fill(~present, 1).log().masked_fill(~present, low) - conj(result)
        return (logs.flip(dim).logcumsumexp(dim).flip(dim) + conj(input)).exp()

    if grad.is_complex():
        return half(grad, grad != 0)

    return half(grad, grad > 0) - half(-grad, grad < 0)


for _name, _word, _rule in (
    ("cumsum", "sum", lambda grad, dim: _reversed_cumsum(grad, dim)),
    ("cumprod", "product", _cumprod_vjp),
):
    op(
        f"{_name}(Tensor input, int dim, *, dtype? dtype=None, Tensor? out=None) -> Tensor",
        f"Running {_word} along `dim`. Integers and bool are accumulated in int64; floating types round each element once.",
        inplace=True,
        vjp={"input": _rule},
    )
op(
    "logcumsumexp(Tensor input, int dim, *, Tensor? out=None) -> Tensor",
    "Running log(sum(exp(input))) along `dim`, computed without overflow.",
    vjp={"input": _logcumsumexp_vjp},
)


def _running_vjp(grad, input_shape, indices, dim):
    return grad.new_zeros(input_shape).scatter_add(dim, indices, grad) if len(input_shape) else grad


for _name, _word in (("cummax", "largest"), ("cummin", "smallest")):
    op(
        f"{_name}(Tensor input, int dim, *, Tensor[]? out=None) -> (Tensor values, Tensor indices)",
        f"The {_word} element so far along `dim`, and its index (the last one's of equals).",
        vjp={"input": _running_vjp},
    )
