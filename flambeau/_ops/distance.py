"""Norms and distances: compositions of `linalg_vector_norm`."""

from .casts import in_autocast
from .outputs import deliver
from .registry import Tensor, composite, op, records, takes
from .second_order import vjp_through


def _vector_norm(x, p, dim=None, keepdim=False, dtype=None):
    return records["linalg_vector_norm"].op(x, p, dim, keepdim, dtype=dtype)


def _number(p):
    return p.item() if isinstance(p, Tensor) else p


@composite
def norm(input, p="fro", dim=None, keepdim=False, out=None, dtype=None):
    """The p-norm of the elements, of all or along `dim`: (sum |x|^p)^(1/p).

    p: a number, inf or -inf; "fro" (like 2), "nuc" (the sum of singular values of the matrices in two dimensions `dim`).
    dtype: to which the elements are converted first.

    >>> flambeau.norm(flambeau.tensor([3.0, 4.0]))
    tensor(5.)
    """
    dims = (dim,) if isinstance(dim, int) else dim
    if isinstance(p, str):
        if p not in ("fro", "nuc"):
            raise RuntimeError(f"linalg.matrix_norm: Order {p} not supported.")
        if dims is not None and len(dims) != 2 and (p == "nuc" or len(dims) > 2):
            shown = " ".join(str(d) for d in dims)
            raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {shown}")
        if p == "nuc":
            if input.dim() < 2:
                raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
            from .. import linalg

            return deliver(
                linalg.matrix_norm(input, "nuc", dims or (-2, -1), keepdim, dtype=dtype), out, "norm"
            )
    order = 2.0 if p is None or p == "fro" else _number(p)
    return deliver(_vector_norm(input, order, dims, keepdim, dtype), out, "norm")


@composite(method="norm", public=False)
def _tensor_norm(input, p="fro", dim=None, keepdim=False, dtype=None):
    """See `flambeau.norm`."""
    return norm(input, p, dim, keepdim, dtype=dtype)


def _renormed(input, p, dim, maxnorm):
    for what, value in (("p", p), ("maxnorm", maxnorm)):
        if isinstance(value, complex):
            raise RuntimeError(f"renorm: {what} must be real-valued")
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.dim() < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.dim()} dimensions")
    input.size(dim)  # raises for a dimension that there is not
    import flambeau

    others = [d for d in range(input.dim()) if d != dim % input.dim()]
    wide = flambeau.float32 if input.dtype in (flambeau.float16, flambeau.bfloat16) else None
    lengths = _vector_norm(input, p, others, True, wide)
    # The small term keeps the scaled length from rounding above maxnorm.
    return input * flambeau.where(lengths > maxnorm, maxnorm / (lengths + 1e-7), 1.0).to(input.dtype)


@composite(method=True)
@takes("renorm(Tensor input, Scalar p, int dim, Scalar maxnorm, *, Tensor? out=None)")
def renorm(input, p, dim, maxnorm, *, out=None):
    """`input` with every slice along `dim` whose p-norm exceeds `maxnorm` scaled down to it.

    >>> flambeau.renorm(flambeau.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    return deliver(_renormed(input, _number(p), dim, _number(maxnorm)), out, "renorm")


@composite(method=True, public=False)
@takes("renorm_(Tensor input, Scalar p, int dim, Scalar maxnorm)")
def renorm_(input, p, dim, maxnorm):
    """In-place form of `renorm`: writes the result into the tensor and returns it."""
    return input.copy_(_renormed(input, _number(p), dim, _number(maxnorm)))


@composite(method=True)
@takes("dist(Tensor input, Tensor other, Scalar p=2, *, Tensor? out=None)")
def dist(input, other, p=2, *, out=None):
    """The p-norm of input - other.

    >>> flambeau.dist(flambeau.zeros(2), flambeau.tensor([3.0, 4.0]))
    tensor(5.)
    """
    return deliver(_vector_norm(input - other, _number(p)), out, "dist")


def _check_points(name, x, kind):
    if not x.is_floating_point():
        raise RuntimeError(f"{name} only supports floating-point dtypes{kind}")


_MODES = {
    None: "use_mm_for_euclid_dist_if_necessary",
    **{
        m: m
        for m in (
            "use_mm_for_euclid_dist_if_necessary",
            "use_mm_for_euclid_dist",
            "donot_use_mm_for_euclid_dist",
        )
    },
}


def _pairs_second_order(distances):
    """The derivative of the gradient of distances, from the distances as a composition."""

    def gradient_of(*inputs):
        import flambeau

        grad, *points = inputs
        found = flambeau.autograd.grad(distances(*points), points, grad, create_graph=True, allow_unused=True)
        return found[0]

    return gradient_of


_cdist_backward = op(
    "_cdist_backward(Tensor grad_output, Tensor x1, Tensor x2, float p, Tensor result_) -> Tensor",
    "The gradient of `_cdist` with respect to the first set.",
    public=False,
    method=False,
    vjp={
        "grad_output, x1, x2": lambda grad, grad_output, x1, x2, p, needs: vjp_through(
            _pairs_second_order(lambda a, b: _vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), p, -1)),
            (grad_output, x1, x2),
            (grad,),
            needs,
        ),
        "result_": None,
    },
)
_cdist = op(
    "_cdist(Tensor x1, Tensor x2, float p) -> Tensor",
    "The p-norm distances of all pairs of two sets with the same leading dimensions.",
    public=False,
    method=False,
    vjp={
        "x1": lambda grad, x1, x2, p, result: _cdist_backward(grad, x1, x2, p, result),
        "x2": lambda grad, x1, x2, p, result: _cdist_backward(
            grad.transpose(-1, -2), x2, x1, p, result.transpose(-1, -2)
        ),
    },
)


def _flat_pairs(x, p):
    import flambeau

    first, second = flambeau.triu_indices(x.shape[0], x.shape[0], 1)
    return _vector_norm(x[first] - x[second], p, -1)


_pdist_backward = op(
    "_pdist_backward(Tensor grad_output, Tensor input, float p, Tensor result_) -> Tensor",
    "The gradient of `_pdist`.",
    public=False,
    method=False,
    vjp={
        "grad_output, input": lambda grad, grad_output, input, p, needs: vjp_through(
            _pairs_second_order(lambda x: _flat_pairs(x, p)), (grad_output, input), (grad,), needs
        ),
        "result_": None,
    },
)
_pdist = op(
    "_pdist(Tensor input, float p) -> Tensor",
    "The p-norm distances of all pairs of different rows.",
    public=False,
    method=False,
    vjp={"input": lambda grad, input, p, result: _pdist_backward(grad, input, p, result)},
)


_FEW_POINTS = 25  # up to so many in both sets, exact differences are cheaper than a product


@composite
@in_autocast("float32")
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """The p-norm distances of all pairs: (..., P, M) and (..., R, M) give (..., P, R).

    compute_mode: Euclidean distances of more than 25 points come from a matrix product, which is much faster but loses
    digits where points nearly coincide; "donot_use_mm_for_euclid_dist" forbids that, "use_mm_for_euclid_dist" orders it.

    >>> flambeau.cdist(flambeau.zeros(1, 2), flambeau.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    mode = _MODES[compute_mode]
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dim() < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D")
        _check_points("cdist", x, f", {name} got: {x.dtype}")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if x1.dtype != x2.dtype:
        raise RuntimeError(
            f"cdist: expected both inputs to have one dtype, but found {x1.dtype} and {x2.dtype}"
        )
    many = x1.shape[-2] > _FEW_POINTS or x2.shape[-2] > _FEW_POINTS
    if p == 2 and (mode == "use_mm_for_euclid_dist" or (mode == _MODES[None] and many)):
        return _euclidean(x1, x2)
    lead = _broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    return _cdist(x1.expand(*lead, *x1.shape[-2:]), x2.expand(*lead, *x2.shape[-2:]), p)


def _broadcast_shapes(*shapes):
    import flambeau

    return flambeau.broadcast_shapes(*shapes)


def _euclidean(x1, x2):
    """|a|^2 - 2 ab + |b|^2, about the mean of the points: that keeps the terms that cancel small."""
    import flambeau

    centre = x1.detach().mean(-2, keepdim=True) if x1.shape[-2] else 0
    x1, x2 = x1 - centre, x2 - centre
    lengths1 = (x1 * x1).sum(-1, keepdim=True)
    lengths2 = (x2 * x2).sum(-1, keepdim=True)
    if not (flambeau.is_grad_enabled() and (x1.requires_grad or x2.requires_grad)):
        # All three terms in one product of slightly longer rows.
        left = flambeau.cat([-2 * x1, lengths1, flambeau.ones_like(lengths1)], -1)
        right = flambeau.cat([x2, flambeau.ones_like(lengths2), lengths2], -1)
        return (left @ right.transpose(-2, -1)).clamp_(min=0).sqrt_()
    squares = lengths1 + lengths2.transpose(-2, -1) - 2 * (x1 @ x2.transpose(-2, -1))
    apart = squares > 0
    # A root has no slope at 0: points that coincide get no gradient.
    return flambeau.where(apart, flambeau.where(apart, squares, 1).sqrt(), 0)


@composite
@takes("pdist(Tensor input, float p=2.0)")
def pdist(input, p=2):
    """The p-norm distances of all pairs of different rows of a matrix, as a vector: (0, 1), (0, 2), ... (1, 2), ...

    >>> flambeau.pdist(flambeau.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
    tensor([5.0000, 1.0000, 4.2426])
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    _check_points("pdist", input, "")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    return _pdist(input, p)


@composite
@takes("pairwise_distance(Tensor x1, Tensor x2, float p=2.0, float eps=1e-06, bool keepdim=False)")
def pairwise_distance(x1, x2, p=2.0, eps=1e-06, keepdim=False):
    """The p-norm of x1 - x2 + eps along the last dimension.

    >>> flambeau.pairwise_distance(flambeau.zeros(1, 2), flambeau.tensor([[3.0, 4.0]]))
    tensor([5.0000])
    """
    return _vector_norm(x1 - x2 + eps, p, -1, keepdim)


@composite
@takes("cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08)")
def cosine_similarity(x1, x2, dim=1, eps=1e-08):
    """The cosine of the angle between vectors along `dim`; lengths below `eps` count as `eps`.

    >>> flambeau.cosine_similarity(flambeau.tensor([[1.0, 0.0]]), flambeau.tensor([[1.0, 1.0]]))
    tensor([0.7071])
    """
    import flambeau

    dtype = flambeau.promote_types(x1.dtype, x2.dtype)
    if not dtype.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {dtype}")
    x1, x2 = flambeau.broadcast_tensors(x1.to(dtype), x2.to(dtype))

    def direction(x):
        length = _vector_norm(x, 2, dim, True)
        # The bound takes no part in the derivative: a short vector still gets the slope of its length.
        return x / (length + (length.clamp(min=eps) - length).detach())

    return (direction(x1) * direction(x2)).sum(dim)
