"""Masked operations: the mask becomes the operation's identity, the rest is the operation itself."""

import math

import flambeau


def _fitting(mask, input):
    """The mask as bool and of the input's shape."""
    if mask.dim() > input.dim():
        raise IndexError(
            "expected a mask that broadcasts to the input, but got one of more dimensions: "
            f"{list(mask.shape)} for {list(input.shape)}"
        )
    return mask.broadcast_to(input.shape).to(flambeau.bool)


def _only(input, mask, identity):
    """The input with `identity` where it does not count."""
    if mask is None:
        return input
    return flambeau.where(_fitting(mask, input), input, flambeau.full((), identity, dtype=input.dtype))


def _dims(dim, ndim):
    """Dimensions from 0, in order; None and none are all of them."""
    if dim is None or dim == () or dim == []:
        return tuple(range(ndim))
    dims = []
    for d in (dim,) if isinstance(dim, int) else dim:
        if not -max(ndim, 1) <= d < max(ndim, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-max(ndim, 1)}, {max(ndim, 1) - 1}], but got {d})"
            )
        d = d % max(ndim, 1)
        if d in dims:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        dims.append(d)
    return tuple(sorted(dims))


def _converted(input, dtype):
    return input if dtype is None or input.dtype == dtype else input.to(dtype)


def _lowest(dtype):
    if dtype.is_floating_point or dtype.is_complex:
        return -math.inf
    return False if dtype == flambeau.bool else flambeau.iinfo(dtype).min


def _highest(dtype):
    if dtype.is_floating_point:
        return math.inf
    return True if dtype == flambeau.bool else flambeau.iinfo(dtype).max


def _sum_dtype(dtype, input):
    if dtype is not None:
        return dtype
    whole = not (input.dtype.is_floating_point or input.dtype.is_complex)
    return flambeau.int64 if whole else input.dtype


def sum(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Sum of the elements that count; 0 where there are none.

    >>> x = flambeau.tensor([[1, 2, 3], [4, 5, 6]])
    >>> flambeau.masked.sum(x, 1, mask=x % 2 == 0)
    tensor([ 2, 10])
    """
    x = _only(_converted(input, _sum_dtype(dtype, input)), mask, 0)
    return x.sum(_dims(dim, x.dim()), keepdim)


def prod(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Product of the elements that count; 1 where there are none.

    >>> x = flambeau.tensor([[1, 2, 3], [4, 5, 6]])
    >>> flambeau.masked.prod(x, 1, mask=x % 2 == 0)
    tensor([ 2, 24])
    """
    x = _only(_converted(input, _sum_dtype(dtype, input)), mask, 1)
    for d in reversed(_dims(dim, x.dim())):
        x = x.prod(d, keepdim)
    return x


def amax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The largest of the elements that count; the dtype's lowest value where there are none.

    >>> x = flambeau.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> flambeau.masked.amax(x, 1, mask=x < 3)
    tensor([2., -inf])
    """
    x = _converted(input, dtype)
    return _only(x, mask, _lowest(x.dtype)).amax(_dims(dim, x.dim()), keepdim)


def amin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The smallest of the elements that count; the dtype's highest value where there are none.

    >>> x = flambeau.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> flambeau.masked.amin(x, 1, mask=x > 3)
    tensor([inf, 4.])
    """
    x = _converted(input, dtype)
    return _only(x, mask, _highest(x.dtype)).amin(_dims(dim, x.dim()), keepdim)


def argmax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Where the largest of the elements that count is: in the flat input, or along `dim`. As a number of the input's dtype,
    as PyTorch has it.

    >>> flambeau.masked.argmax(flambeau.tensor([1, 3, 2]), mask=flambeau.tensor([True, False, True]))
    tensor(2)
    """
    x = _converted(input, dtype)
    return _only(x, mask, _lowest(x.dtype)).argmax(dim, bool(keepdim)).to(x.dtype)


def argmin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Where the smallest of the elements that count is: in the flat input, or along `dim`. As a number of the input's dtype,
    as PyTorch has it.

    >>> flambeau.masked.argmin(flambeau.tensor([1, 3, 2]), mask=flambeau.tensor([False, True, True]))
    tensor(2)
    """
    x = _converted(input, dtype)
    return _only(x, mask, _highest(x.dtype)).argmin(dim, bool(keepdim)).to(x.dtype)


def _count(x, mask, dims, keepdim):
    """How many elements count, in int64: a number, or a tensor that broadcasts with the reduced one."""
    if mask is None:
        return math.prod(x.shape[d] for d in dims) if x.dim() else 1
    return _fitting(mask, x).sum(dims, keepdim)


def mean(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Mean of the elements that count; nan where there are none.

    >>> x = flambeau.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> flambeau.masked.mean(x, 1, mask=x > 2)
    tensor([3., 5.])
    """
    x = _converted(input, dtype)
    dims = _dims(dim, x.dim())
    if mask is None and (x.dtype.is_floating_point or x.dtype.is_complex):
        return x.mean(dims, keepdim)
    if x.dtype == flambeau.bool:
        x = x.to(flambeau.int64)
    return _only(x, mask, 0).sum(dims, keepdim) / _count(x, mask, dims, keepdim)


def median(input, dim=-1, *, keepdim=False, dtype=None, mask=None):
    """Median (the lower one of two) of the elements that count along a dimension; nan where there are none.

    >>> flambeau.masked.median(flambeau.tensor([1.0, 9.0, 2.0]), 0, mask=flambeau.tensor([True, False, True]))
    tensor(1.)
    """
    x = _converted(input, dtype)
    wanted = x.dtype
    if not wanted.is_floating_point:
        x = x.to(flambeau.float64 if wanted in (flambeau.int32, flambeau.int64) else flambeau.float32)
    if mask is None:
        return x.median(dim, keepdim).values.to(wanted)
    found = _only(x, mask, math.nan).nanmedian(dim, keepdim).values
    if not wanted.is_floating_point and found.isnan().any():
        raise ValueError(
            "masked median: a row without an element that counts has no median of an integer dtype"
        )
    return found.to(wanted)


def norm(input, ord=2.0, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Vector norm of order `ord` of the elements that count; 0 where there are none (inf for ord = -inf).

    >>> flambeau.masked.norm(flambeau.tensor([3.0, 9.0, 4.0]), mask=flambeau.tensor([True, False, True]))
    tensor(5.)
    """
    x = _converted(input, dtype)
    smallest = ord is not None and ord < 0
    x = _only(x, mask, math.inf if smallest else 0)
    return flambeau.linalg.vector_norm(x, 2.0 if ord is None else ord, _dims(dim, x.dim()), bool(keepdim))


def normalize(input, ord, dim, *, eps=1e-12, dtype=None, mask=None):
    """The elements that count divided by their norm along `dim`, which is taken as no less than `eps`.

    >>> flambeau.masked.normalize(flambeau.tensor([3.0, 9.0, 4.0]), 2.0, 0, mask=flambeau.tensor([True, False, True]))
    tensor([0.6000, 0.0000, 0.8000])
    """
    x = _converted(input, dtype)
    length = norm(x, ord, dim, keepdim=True, mask=mask)
    return _only(x, mask, 0) / length.clamp(min=eps)


def _spread(input, dim, unbiased, correction, keepdim, dtype, mask):
    """The variance's sum of squares divided by how many count less the correction, at least 0."""
    if unbiased is not None and correction is not None:
        raise RuntimeError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    whole = not (input.dtype.is_floating_point or input.dtype.is_complex)
    x = _converted(input, flambeau.float32 if dtype is None and whole else dtype)
    dims = _dims(dim, x.dim())
    if mask is None:
        return x.var(dims, correction=correction, keepdim=keepdim).to(x.dtype)
    middle = _only(x, mask, 0).sum(dims, True) / _count(x, mask, dims, True)
    off = _only(x - middle, mask, 0)
    squares = off * off.conj()
    divisor = (_count(x, mask, dims, keepdim) - correction).clamp(min=0)
    return (squares.sum(dims, keepdim) / divisor).to(x.dtype)


def var(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """Variance of the elements that count, their number less `correction` (1) in the denominator.

    >>> flambeau.masked.var(flambeau.tensor([1.0, 9.0, 3.0]), mask=flambeau.tensor([True, False, True]))
    tensor(2.)
    """
    return _spread(input, dim, unbiased, correction, keepdim, dtype, mask)


def std(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """Square root of `var`.

    >>> flambeau.masked.std(flambeau.tensor([1.0, 9.0, 3.0]), mask=flambeau.tensor([True, False, True]))
    tensor(1.4142)
    """
    return _spread(input, dim, unbiased, correction, keepdim, dtype, mask).sqrt()


def logsumexp(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """log of the sum of exponentials of the elements that count; -inf where there are none.

    >>> flambeau.masked.logsumexp(flambeau.zeros(4), mask=flambeau.tensor([True, True, False, False]))
    tensor(0.6931)
    """
    x = _converted(input, dtype)
    return _only(x, mask, _lowest(x.dtype)).logsumexp(_dims(dim, x.dim()), keepdim).to(x.dtype)


def logaddexp(input, other, *, dtype=None, input_mask=None, other_mask=None):
    """log(exp(input) + exp(other)) of those that count; -inf where neither does.

    >>> x = flambeau.zeros(2)
    >>> flambeau.masked.logaddexp(x, x, other_mask=flambeau.tensor([True, False]))
    tensor([0.6931, 0.0000])
    """
    a, b = _converted(input, dtype), _converted(other, dtype)
    return flambeau.logaddexp(_only(a, input_mask, -math.inf), _only(b, other_mask, -math.inf))


def cumsum(input, dim, *, dtype=None, mask=None):
    """Running sums of the elements that count.

    >>> flambeau.masked.cumsum(flambeau.tensor([1, 2, 3]), 0, mask=flambeau.tensor([True, False, True]))
    tensor([1, 1, 4])
    """
    x = _converted(input, dtype)
    return _only(x, mask, 0).cumsum(dim, dtype=x.dtype)


def cumprod(input, dim, *, dtype=None, mask=None):
    """Running products of the elements that count.

    >>> flambeau.masked.cumprod(flambeau.tensor([1, 2, 3]), 0, mask=flambeau.tensor([True, False, True]))
    tensor([1, 1, 3])
    """
    x = _converted(input, dtype)
    return _only(x, mask, 1).cumprod(dim, dtype=x.dtype)


def softmax(input, dim, *, dtype=None, mask=None):
    """Softmax over the elements that count, 0 for the others.

    >>> flambeau.masked.softmax(flambeau.zeros(3), 0, mask=flambeau.tensor([True, False, True]))
    tensor([0.5000, 0.0000, 0.5000])
    """
    x = _converted(input, dtype)
    return _only(x, mask, _lowest(x.dtype)).softmax(dim)


def log_softmax(input, dim, *, dtype=None, mask=None):
    """Logarithm of `softmax`, -inf for elements that do not count.

    >>> flambeau.masked.log_softmax(flambeau.zeros(3), 0, mask=flambeau.tensor([True, False, True]))
    tensor([-0.6931,    -inf, -0.6931])
    """
    x = _converted(input, dtype)
    return _only(x, mask, _lowest(x.dtype)).log_softmax(dim)


def softmin(input, dim, *, dtype=None, mask=None):
    """Softmax of -input over the elements that count, 0 for the others.

    >>> flambeau.masked.softmin(flambeau.zeros(3), 0, mask=flambeau.tensor([True, False, True]))
    tensor([0.5000, 0.0000, 0.5000])
    """
    x = _converted(input, dtype)
    return (-_only(x, mask, _highest(x.dtype))).softmax(dim)
