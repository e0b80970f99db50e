"""Quantiles, covariance, histograms, differences and the trapezoidal rule: compositions of simpler operators."""

from .casts import in_autocast
from .outputs import deliver
from .registry import Tensor, composite, takes
from .truth import any_true

# ---- quantiles -------------------------------------------------------------------------------------------------------

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _vector(number, dim):
    """A zero-dimensional tensor as a vector; it has the dimension 0 only."""
    if dim not in (0, -1):
        raise IndexError(f"Dimension out of range (expected to be in range of [-1, 0], but got {dim})")
    return number.reshape(1)


def _quantile(name, input, q, dim, keepdim, interpolation, out, ignore_nan):
    import flambeau

    def check(condition, message):
        if not condition:
            raise RuntimeError(f"{name}() {message}")

    check(input.numel() > 0, "input tensor must be non-empty")
    check(
        input.dtype in (flambeau.float32, flambeau.float64),
        "input tensor must be either float or double dtype",
    )
    if isinstance(q, Tensor):
        check(q.dim() <= 1, "q must be a scalar or 1D tensor")
        check(q.dtype == input.dtype, "q tensor must be same dtype as the input tensor")
        inside = bool(((q >= 0) & (q <= 1)).all())
        check(inside, "q values must be in the range [0, 1]")
    else:
        check(0 <= q <= 1, f"q must be in the range [0, 1] but got {q}")
        q = flambeau.tensor(q, dtype=input.dtype, device=input.device)
    check(
        interpolation in _INTERPOLATIONS,
        f"interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}",
    )
    if out is not None:
        check(out.dtype == input.dtype, "out tensor must be same dtype as the input tensor")

    one_q, shape = q.dim() == 0, list(input.shape)
    if dim is None:
        rows, kept = input.reshape(-1), [1] * len(shape)
    else:
        rows = input.movedim(dim, -1) if shape else _vector(input, dim)
        kept = shape[:]
        if shape:
            kept[dim] = 1
    ordered = rows.sort(-1).values
    if ignore_nan:
        ranks = (q.reshape(-1) * ((~rows.isnan()).sum(-1, keepdim=True) - 1)).clamp(min=0)
    else:
        last = rows.shape[-1] - 1
        # A NaN is sorted to the end; where there is one, every quantile is it.
        ranks = (q.reshape(-1) * last).masked_fill(ordered[..., -1:].isnan(), last)
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    below = ranks.long()
    result = ordered.gather(-1, below)
    if interpolation in ("linear", "midpoint"):
        weights = ranks - below if interpolation == "linear" else flambeau.full_like(ranks, 0.5)
        result = result.lerp(ordered.gather(-1, ranks.ceil().long()), weights)
    result = result.movedim(-1, 0)
    if one_q:
        result = result.squeeze(0)
    if keepdim:
        result = result.reshape(kept if one_q else [q.numel(), *kept])
    return deliver(result, out, "quantile", same_dtype=True)


@composite(method=True)
@takes(
    "quantile(Tensor input, Operand q, int? dim=None, bool keepdim=False, *, "
    "str interpolation='linear', Tensor? out=None)",
)
@in_autocast("float32")
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear", out=None):
    """The quantiles `q` (a number, or a vector for as many along a new first dimension) along `dim` or of all elements.

    interpolation: what to take between two values: "linear", "lower", "higher", "midpoint" or "nearest".

    >>> flambeau.quantile(flambeau.tensor([1.0, 2.0, 4.0]), 0.25)
    tensor(1.5000)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, out, False)


@composite(method=True)
@takes(
    "nanquantile(Tensor input, Operand q, int? dim=None, bool keepdim=False, *, "
    "str interpolation='linear', Tensor? out=None)",
)
@in_autocast("float32")
def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear", out=None):
    """`quantile` of what is not NaN; NaN where nothing is left.

    >>> flambeau.nanquantile(flambeau.tensor([1.0, float("nan"), 4.0]), 0.5)
    tensor(2.5000)
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, out, True)


# ---- differences and integrals ---------------------------------------------------------------------------------------


@composite(method=True)
@takes(
    "diff(Tensor input, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None, *, Tensor? out=None)",
)
def diff(input, n=1, dim=-1, prepend=None, append=None, *, out=None):
    """Differences of neighbours along `dim`, taken `n` times; of bool: whether they differ.

    prepend, append: tensors to be joined before and after `input` first.

    >>> flambeau.diff(flambeau.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    import flambeau

    if input.dim() == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    input.size(dim)  # raises for a dimension that there is not
    for extra in (prepend, append):
        if extra is None:
            continue
        if extra.dim() != input.dim():
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
        for i, (have, want) in enumerate(zip(extra.shape, input.shape, strict=True)):
            if have != want and i != dim % input.dim():
                raise RuntimeError(
                    "diff expects the shape of tensor to prepend or append to match that of input except along the "
                    f"differencing dimension; input.size({i}) = {want}, but got tensor.size({i}) = {have}"
                )
    if n == 0:
        return deliver(input.clone(), out, "diff")
    parts = [t for t in (prepend, input, append) if t is not None]
    x = flambeau.cat(parts, dim) if len(parts) > 1 else input
    length = x.size(dim)
    for _ in range(min(n, length)):
        last = x.size(dim) - 1
        if last < 0:
            break
        after, before = x.narrow(dim, 1, last), x.narrow(dim, 0, last)
        x = after.logical_xor(before) if x.dtype == flambeau.bool else after - before
    return deliver(x, out, "diff")


def _check_samples(name, y, x):
    import flambeau

    for what, t in (("y", y), ("x", x)):
        if isinstance(t, Tensor) and t.dtype == flambeau.bool:
            raise RuntimeError(f"{name}: received a bool input for `{what}`, but bool is not supported")


def _widths(name, y, x, dim):
    """The distances between samples, in a shape that broadcasts against pairs of neighbours."""
    if x.dim() == 0:
        return x.new_zeros(())[None][1:]
    if x.dim() == 1 and y.dim() > 1:
        if x.shape[0] != y.shape[dim]:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        shape = [1] * y.dim()
        shape[dim] = x.shape[0]
        x = x.reshape(shape)
    elif x.dim() < y.dim():
        x = x.reshape((1,) * (y.dim() - x.dim()) + tuple(x.shape))
    return diff(x, dim=dim)


@composite
@takes(
    "trapezoid(Tensor y, Tensor x, *, int dim=-1)",
    "trapezoid(Tensor y, *, Scalar dx=1, int dim=-1)",
)
def trapezoid(y, x=None, *, dx=1, dim=-1):
    """The integral of samples `y` along `dim` by the trapezoidal rule, taken at points `x` or at distances `dx`.

    >>> flambeau.trapezoid(flambeau.tensor([1.0, 2.0, 3.0]))
    tensor(4.)
    """
    _check_samples("trapezoid", y, x)
    length = y.size(dim)
    if length == 0:
        shape = list(y.shape)
        del shape[dim]
        return y.new_zeros(shape)
    both = y.narrow(dim, 0, length - 1) + y.narrow(dim, 1, length - 1)
    if x is None:
        return both.sum(dim) * (dx / 2)
    return (both * _widths("trapezoid", y, x, dim)).sum(dim) / 2


@composite
@takes(
    "trapz(Tensor y, Tensor x, *, int dim=-1)",
    "trapz(Tensor y, *, Scalar dx=1, int dim=-1)",
)
def trapz(y, x=None, *, dx=1, dim=-1):
    """Another name of `trapezoid`."""
    return trapezoid(y, dx=dx, dim=dim) if x is None else trapezoid(y, x, dim=dim)


@composite
@takes(
    "cumulative_trapezoid(Tensor y, Tensor x, *, int dim=-1)",
    "cumulative_trapezoid(Tensor y, *, Scalar dx=1, int dim=-1)",
)
def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    """The running integral of samples by the trapezoidal rule: one value less than there are samples. See `trapezoid`.

    >>> flambeau.cumulative_trapezoid(flambeau.tensor([1.0, 2.0, 3.0]))
    tensor([1.5000, 4.0000])
    """
    _check_samples("cumulative_trapezoid", y, x)
    length = y.size(dim)
    pairs = max(length - 1, 0)
    both = y.narrow(dim, 0, pairs) + y.narrow(dim, length - pairs, pairs)
    if x is None:
        return both.cumsum(dim) * (dx / 2)
    return (both * _widths("cumulative_trapezoid", y, x, dim)).cumsum(dim) / 2


# ---- covariance ------------------------------------------------------------------------------------------------------


def _check_weights(name, weights, count, integral):
    if weights is None:
        return
    if weights.dim() > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with {weights.dim()} dimensions"
        )
    right = (
        not (weights.is_floating_point() or weights.is_complex()) if integral else weights.is_floating_point()
    )
    if not right:
        raise RuntimeError(
            f"cov(): expected {name} to have {'integral' if integral else 'floating point'} dtype but got {name} with "
            f"{weights.dtype} dtype"
        )
    if weights.numel() != count:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input but got "
            f"{weights.numel()} != {count}"
        )
    if weights.numel() and any_true(weights < 0):
        raise RuntimeError(f"cov(): {name} cannot be negative")


@composite(method=True)
@takes("cov(Tensor input, *, int correction=1, Tensor? fweights=None, Tensor? aweights=None)")
def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariance matrix of variables (rows) observed together (columns).

    correction: the sums are divided by (observations - correction). fweights: how often each observation was made.
    aweights: how much each observation counts.

    >>> flambeau.cov(flambeau.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    import flambeau

    if input.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    if input.dtype == flambeau.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape(1, -1) if input.dim() < 2 else input
    count = x.shape[1]
    _check_weights("fweights", fweights, count, True)
    _check_weights("aweights", aweights, count, False)
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(flambeau.get_default_dtype())
    weights = fweights
    if aweights is not None:
        weights = aweights if fweights is None else fweights * aweights
    if weights is None:
        total = count
        mean = x.sum(1, keepdim=True) / total if total else x.new_full((x.shape[0], 1), float("nan"))
    else:
        total = weights.sum()
        if count and float(total) == 0:
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        mean = (x * weights).sum(1, keepdim=True) / total
    if aweights is not None and correction != 0:
        spread = (weights * aweights).sum()
        divisor = total - correction * spread / total
    else:
        divisor = total - correction
    if not isinstance(divisor, Tensor):
        divisor = flambeau.tensor(float(divisor), dtype=x.dtype, device=x.device)
    if float(divisor.real) <= 0:
        import warnings

        warnings.warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.",
            stacklevel=2,
        )
        divisor = divisor * 0
    centred = x - mean
    weighted = centred if weights is None else centred * weights
    product = centred @ weighted.conj().t()
    return (product / divisor).squeeze()


@composite(method=True)
@takes("corrcoef(Tensor input)")
def corrcoef(input):
    """Pearson's correlation coefficients of variables (rows) observed together (columns), between -1 and 1.

    >>> flambeau.corrcoef(flambeau.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    import flambeau

    if input.dim() > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    c = cov(input)
    if c.dim() == 0:
        return c / c
    deviations = (c.diagonal().real if c.is_complex() else c.diagonal()).sqrt()
    c = c / deviations[:, None] / deviations[None, :]
    if c.is_complex():
        return flambeau.complex(c.real.clamp(-1, 1), c.imag.clamp(-1, 1))
    return c.clamp(-1, 1)


# ---- histograms ------------------------------------------------------------------------------------------------------


def _edges(samples, bins, range):
    """The bin edges of every coordinate of `samples` (n, d): from the caller, or equal parts of the range."""
    import flambeau

    d = samples.shape[1]
    if len(bins) != d:
        raise RuntimeError(
            "histogramdd: The size of bins must be equal to the innermost dimension of the input."
        )
    if range is not None and len(range) != 2 * d:
        raise RuntimeError(
            f"torch.histogramdd: for a {d}-dimensional histogram range should have {2 * d} elements, but got {len(range)}"
        )
    edges = []
    for i, b in enumerate(bins):
        if isinstance(b, Tensor):
            if b.dtype != samples.dtype:
                raise RuntimeError(
                    "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with "
                    f"dtype {samples.dtype} and bins for dimension {i} with dtype {b.dtype}"
                )
            if b.dim() != 1:
                raise RuntimeError(
                    f"torch.histogramdd: bins tensor should have one dimension, but got {b.dim()} dimensions in the "
                    f"bins tensor for dimension {i}"
                )
            if b.numel() == 0:
                raise RuntimeError(
                    "torch.histogramdd: bins tensor should have at least 1 element, but got 0 elements in the bins "
                    f"tensor for dimension {i}"
                )
            if b.numel() == 1:
                raise RuntimeError(f"torch.histogram(): bins must be > 0, but got 0 for dimension {i}")
            edges.append(b)
            continue
        if b <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {b} for dimension {i}")
        if range is not None:
            low, high = float(range[2 * i]), float(range[2 * i + 1])
        elif samples.shape[0]:
            low, high = (float(v) for v in samples[:, i].aminmax())
        else:
            low, high = 0.0, 1.0
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise RuntimeError(f"torch.histogramdd: dimension {i}'s range [{low:g}, {high:g}] is not finite")
        if low > high:
            raise RuntimeError(
                f"torch.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for dimension {i}"
            )
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges.append(flambeau.linspace(low, high, b + 1, dtype=samples.dtype))
    return edges


def _histogram(samples, bins, range, weight, density):
    import flambeau

    if samples.dtype not in (flambeau.float32, flambeau.float64):
        raise NotImplementedError(
            f"\"histogramdd\" not implemented for '{samples.type().rpartition('.')[2][:-6]}'"
        )
    if weight is not None:
        if weight.dtype != samples.dtype:
            raise RuntimeError(
                "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the same "
                f"dtype, but got input({samples.dtype}), and weight({weight.dtype})"
            )
        if weight.shape != samples.shape[:-1]:
            raise RuntimeError(
                "torch.histogramdd: if weight tensor is provided it should have the same shape as the input tensor "
                f"excluding its innermost dimension, but got input with shape {list(samples.shape)} and weight with "
                f"shape {list(weight.shape)}"
            )
        weight = weight.reshape(-1)
    samples = samples.reshape(-1, samples.shape[-1]).detach()
    edges = _edges(samples, bins, range)
    shape = [e.numel() - 1 for e in edges]
    place = flambeau.zeros(samples.shape[0], dtype=flambeau.int64)
    inside = flambeau.ones(samples.shape[0], dtype=flambeau.bool)
    for i, (e, n) in enumerate(zip(edges, shape, strict=True)):
        x = samples[:, i]
        inside = inside & (x >= e[0]) & (x <= e[-1])
        # The last bin holds its upper edge, too.
        place = place * n + (flambeau.searchsorted(e, x.contiguous(), right=True) - 1).clamp(0, n - 1)
    total = 1
    for n in shape:
        total *= n
    picked = weight[inside] if weight is not None else None
    hist = flambeau.bincount(place[inside], picked, minlength=total).to(samples.dtype).reshape(shape)
    if density:
        hist = hist / hist.sum()
        for i, e in enumerate(edges):
            view = [1] * len(shape)
            view[i] = -1
            hist = hist / diff(e).reshape(view)
    return hist, edges


@composite(method=True)
@takes(
    "histogram(Tensor input, Tensor bins, *, Tensor? weight=None, bool density=False, Tensor[]? out=None)",
    "histogram(Tensor input, int bins=100, *, float[]? range=None, Tensor? weight=None, "
    "bool density=False, Tensor[]? out=None)",
)
def histogram(input, bins=100, *, range=None, weight=None, density=False, out=None):
    """How many elements fall into each bin, and the edges of the bins; the last bin holds its upper edge.

    bins: a number of equal parts of `range` (of the data's range by default), or the edges, ascending. weight: one for
    each element, to be added instead of 1. density: divided so that the integral is 1.

    >>> flambeau.histogram(flambeau.tensor([0.0, 1.0, 1.0]), 2).hist
    tensor([1., 2.])
    """
    from ..return_types import histogram as result_type

    flat = input.reshape(-1, 1)
    if weight is not None and weight.numel() == input.numel():
        weight = weight.reshape(-1)
    hist, (edges,) = _histogram(flat, [bins], range, weight, density)
    if out is not None:
        hist, edges = deliver(hist, out[0], "histogram"), deliver(edges, out[1], "histogram")
    return result_type((hist, edges))


@composite
def histogramdd(input, bins, range=None, weight=None, density=False):
    """A histogram of points: the last dimension of `input` holds their coordinates. See `histogram`.

    bins: a number for all coordinates, a list of one number or a list of edges for each.

    >>> flambeau.histogramdd(flambeau.tensor([[0.0, 1.0], [1.0, 0.0]]), 2).hist
    tensor([[0., 1.],
            [1., 0.]])
    """
    from ..return_types import histogramdd as result_type

    if input.dim() < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    bins = [bins] * input.shape[-1] if isinstance(bins, int) else list(bins)
    hist, edges = _histogram(input, bins, range, weight, density)
    return result_type((hist, tuple(edges)))
