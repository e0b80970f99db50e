"""Activation functions. Each takes a tensor of any shape and returns one of the same shape."""

import warnings

import flambeau

from .._ops.activation import variant
from .._ops.registry import takes
from ._functional_common import write_back


def _pick(function, input, inplace):
    return write_back(input, function) if inplace else function(input)


def threshold(input, threshold, value, inplace=False):
    """``input`` where it exceeds `threshold`, `value` elsewhere."""
    return variant("threshold", inplace)(input, threshold, value)


def relu(input, inplace=False):
    """``max(0, input)``.

    >>> F.relu(flambeau.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return flambeau.relu_(input) if inplace else flambeau.relu(input)


def relu6(input, inplace=False):
    """``min(max(0, input), 6)``."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """``input`` limited to [min_val, max_val]."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return variant("hardtanh", inplace)(input, min_val, max_val)


def elu(input, alpha=1.0, inplace=False):
    """``input`` where positive, ``alpha * (exp(input) - 1)`` elsewhere."""
    return variant("elu", inplace)(input, alpha)


def selu(input, inplace=False):
    """The self-normalising scaled ELU (Klambauer et al., 2017)."""
    return flambeau.selu_(input) if inplace else flambeau.selu(input)


def celu(input, alpha=1.0, inplace=False):
    """``max(0, input) + min(0, alpha * (exp(input / alpha) - 1))``."""
    return flambeau.celu_(input, alpha) if inplace else flambeau.celu(input, alpha)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """``input`` where positive, ``negative_slope * input`` elsewhere."""
    return variant("leaky_relu", inplace)(input, negative_slope)


def prelu(input, weight):
    """:func:`leaky_relu` with a learned slope: one, or one per channel (dimension 1)."""
    return flambeau.prelu(input, weight)


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """:func:`leaky_relu` with slopes drawn from U(lower, upper) in training, their mean otherwise."""
    if lower > upper:
        raise RuntimeError(
            f"rrelu(): Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        )
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)

    def randomized(x):
        negative = x <= 0
        exact = flambeau.float64 if x.dtype is flambeau.float64 else flambeau.float32
        with flambeau.no_grad():
            # Only the elements that need a slope draw one, in double precision between the bounds as `exact` has them.
            low, high = flambeau.tensor([lower, upper], dtype=exact).tolist()
            if flambeau._C._transforms():  # how many these are differs between examples
                draws = flambeau.rand_like(x, dtype=exact) * (high - low) + low
                return (x * flambeau.where(negative, draws, 1)).to(x.dtype)
            draws = flambeau.rand(int(negative.sum()), dtype=flambeau.float64, device=x.device)
            draws = draws.mul_(high - low).add_(low).to(exact)
            slopes = flambeau.ones_like(x, dtype=exact).masked_scatter_(negative, draws)
        return (x * slopes).to(x.dtype)

    return _pick(randomized, input, inplace)


def glu(input, dim=-1):
    """``a * sigmoid(b)`` where `a` and `b` are the halves of `input` along `dim`."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}"
        )
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


def gelu(input, approximate="none", *, out=None):
    """``input * Phi(input)`` with the normal distribution's Phi; ``approximate='tanh'`` uses its tanh form."""
    return variant("gelu")(input, approximate=approximate, out=out)


def silu(input, inplace=False):
    """``input * sigmoid(input)``."""
    if input.dtype.is_complex:
        return _pick(lambda x: x * x.sigmoid(), input, inplace)
    return variant("silu", inplace)(input)


def mish(input, inplace=False):
    """``input * tanh(softplus(input))``."""
    return variant("mish", inplace)(input)


def hardsigmoid(input, inplace=False):
    """``relu6(input + 3) / 6``."""
    return variant("hardsigmoid", inplace)(input)


def hardswish(input, inplace=False):
    """``input * relu6(input + 3) / 6``."""
    return variant("hardswish", inplace)(input)


def softplus(input, beta=1.0, threshold=20.0, *, out=None):
    """``log(1 + exp(beta * input)) / beta``; the identity where ``beta * input > threshold``."""
    return variant("softplus")(input, beta, threshold, out=out)


def logsigmoid(input, *, out=None):
    """``log(sigmoid(input))``, computed without overflow."""
    return variant("logsigmoid")(input, out=out)


def hardshrink(input, lambd=0.5, *, out=None):
    """0 where ``|input| <= lambd``, `input` elsewhere."""
    return flambeau.hardshrink(input, lambd, out=out)


def softshrink(input, lambd=0.5, *, out=None):
    """`input` moved towards 0 by `lambd`, and 0 where ``|input| <= lambd``."""
    if lambd < 0:
        raise RuntimeError(
            f"lambda must be in range [0, the largest {input.dtype}] of the input dtype, but found {lambd}."
        )
    return variant("softshrink")(input, lambd, out=out)


def tanhshrink(input):
    """``input - tanh(input)``."""
    return input - input.tanh()


def softsign(input):
    """``input / (1 + |input|)``."""
    return input / (input.abs() + 1)


def tanh(input):
    """The hyperbolic tangent."""
    return input.tanh()


def sigmoid(input):
    """``1 / (1 + exp(-input))``."""
    return input.sigmoid()


def _implicit_dim(name, dims, stacklevel):
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if dims in (0, 1, 3) else 1


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """``exp(input)`` divided by its sum along `dim`. `dtype`: cast the input first.

    >>> F.softmax(flambeau.zeros(2), dim=0)
    tensor([0.5000, 0.5000])
    """
    if dim is None:
        dim = _implicit_dim("softmax", input.dim(), _stacklevel)
    return flambeau.softmax(input, dim) if dtype is None else flambeau.softmax(input, dim, dtype=dtype)


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """``softmax(-input)``."""
    if dim is None:
        dim = _implicit_dim("softmin", input.dim(), _stacklevel)
    return softmax(-input, dim, dtype=dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """``log(softmax(input))``, computed without overflow."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input.dim(), _stacklevel)
    return (
        flambeau.log_softmax(input, dim) if dtype is None else flambeau.log_softmax(input, dim, dtype=dtype)
    )


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A differentiable draw from the categorical distribution with these `logits` (Jang et al., 2016).

    ``hard=True`` returns one-hot values with the gradient of the soft ones.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    gumbels = (
        -flambeau.empty_like(logits, memory_format=flambeau.legacy_contiguous_format).exponential_().log()
    )
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = flambeau.zeros_like(logits, memory_format=flambeau.legacy_contiguous_format).scatter_(
        dim, index, 1.0
    )
    return one_hot - soft.detach() + soft


def relu_(input):
    """In-place :func:`relu`."""
    return flambeau.relu_(input)


@takes("threshold_(Tensor input, Scalar threshold, Scalar value)")
def threshold_(input, limit, value):
    """In-place :func:`threshold`."""
    return threshold(input, limit, value, inplace=True)


def hardtanh_(input, min_val=-1.0, max_val=1.0):
    """In-place :func:`hardtanh`."""
    return hardtanh(input, min_val, max_val, inplace=True)


def elu_(input, alpha=1.0):
    """In-place :func:`elu`."""
    return elu(input, alpha, inplace=True)


def selu_(input):
    """In-place :func:`selu`."""
    return selu(input, inplace=True)


def celu_(input, alpha=1.0):
    """In-place :func:`celu`."""
    return celu(input, alpha, inplace=True)


def leaky_relu_(input, negative_slope=0.01):
    """In-place :func:`leaky_relu`."""
    return leaky_relu(input, negative_slope, inplace=True)


def rrelu_(input, lower=1.0 / 8, upper=1.0 / 3, training=False):
    """In-place :func:`rrelu`."""
    return rrelu(input, lower, upper, training, inplace=True)
