"""Special functions: error, gamma, Bessel functions and their relatives."""

import math

import flambeau

from ._pointwise import binary, unary
from .outputs import check_dtype, deliver
from .registry import composite, op, takes

unary(
    "erf",
    """The error function.

    >>> flambeau.erf(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5205])
    """,
    lambda grad, input: grad * (2 / math.sqrt(math.pi)) * (-input * input).exp(),
)
unary(
    "erfc",
    """1 - erf(input), accurate where that is small.

    >>> flambeau.erfc(flambeau.tensor([0.0, 0.5]))
    tensor([1.0000, 0.4795])
    """,
    lambda grad, input: grad * (-2 / math.sqrt(math.pi)) * (-input * input).exp(),
)
unary(
    "erfinv",
    """The inverse of the error function.

    >>> flambeau.erfinv(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4769])
    """,
    lambda grad, result: grad * (math.sqrt(math.pi) / 2) * (result * result).exp(),
)
unary(
    "special_erfcx",
    """exp(input ** 2) * erfc(input).

    >>> flambeau.special.erfcx(flambeau.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6157])
    """,
    lambda grad, input, result: grad * (2 * input * result - 2 / math.sqrt(math.pi)),
    method=False,
    public=False,
    inplace=False,
)
unary(
    "special_entr",
    """-input * log(input); 0 at 0 and -inf below.

    >>> flambeau.special.entr(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.3466])
    """,
    lambda grad, input: grad * flambeau.where(input.isnan(), input, -input.log() - 1),
    method=False,
    public=False,
    inplace=False,
)
unary(
    "special_ndtr",
    """The cumulative distribution function of the normal distribution.

    >>> flambeau.special.ndtr(flambeau.tensor([0.0, 0.5]))
    tensor([0.5000, 0.6915])
    """,
    lambda grad, input: grad * (1 / math.sqrt(2 * math.pi)) * (-input * input / 2).exp(),
    method=False,
    public=False,
    inplace=False,
)
unary(
    "special_ndtri",
    """The inverse of :func:`special_ndtr`.

    >>> flambeau.special.ndtri(flambeau.tensor([0.5, 0.9]))
    tensor([0.0000, 1.2816])
    """,
    lambda grad, result: grad * math.sqrt(2 * math.pi) * (result * result / 2).exp(),
    method=False,
    public=False,
    inplace=False,
)
unary(
    "special_log_ndtr",
    """log(ndtr(input)), accurate far below 0.

    >>> flambeau.special.log_ndtr(flambeau.tensor([0.0, 0.5]))
    tensor([-0.6931, -0.3689])
    """,
    lambda grad, input: grad / flambeau.special.erfcx(input * -math.sqrt(0.5)) * math.sqrt(2 / math.pi),
    method=False,
    public=False,
    inplace=False,
)
unary(
    "lgamma",
    """Logarithm of the absolute value of the gamma function.

    >>> flambeau.lgamma(flambeau.tensor([0.5, 4.0]))
    tensor([0.5724, 1.7918])
    """,
    lambda grad, input: grad * input.digamma(),
)
unary(
    "digamma",
    """Derivative of the logarithm of the gamma function.

    >>> flambeau.digamma(flambeau.tensor([1.0, 4.0]))
    tensor([-0.5772,  1.2561])
    """,
    lambda grad, input: grad * flambeau.polygamma(1, input),
)
op(
    "polygamma(int n, Tensor input, *, Tensor? out=None) -> Tensor",
    """The n-th derivative of digamma.

    >>> flambeau.polygamma(1, flambeau.tensor([1.0, 2.0]))
    tensor([1.6449, 0.6449])
    """,
    method=False,
    vjp={"input": lambda grad, n, input: grad * flambeau.polygamma(n + 1, input)},
)


@composite(method=True, public=False, name="polygamma")
def _polygamma_method(input, n):
    return flambeau.polygamma(n, input)


@composite(method=True, public=False)
def polygamma_(input, n):
    """In-place form of `polygamma`."""
    result = flambeau.polygamma(n, input)
    check_dtype(result.dtype, input, "polygamma_")
    return input.copy_(result)


@composite(method=True)
@takes("mvlgamma(Tensor input, int p, *, Tensor? out=None)")
def mvlgamma(input, p, *, out=None):
    """Logarithm of the multivariate gamma function of dimension p, for elements above (p - 1) / 2.

    >>> flambeau.mvlgamma(flambeau.tensor([3.0]), 2)
    tensor([1.5502])
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if not input.is_floating_point():
        input = input.to(flambeau.get_default_dtype())
    terms = flambeau.arange(0, -p, -1, dtype=input.dtype) / 2
    result = (input.unsqueeze(-1) + terms).lgamma().sum(-1) + p * (p - 1) / 4 * math.log(math.pi)
    return deliver(result, out, "mvlgamma")


@composite(method=True, public=False)
@takes("mvlgamma_(Tensor input, int p)")
def mvlgamma_(input, p):
    """In-place form of `mvlgamma`."""
    result = mvlgamma(input, p)
    check_dtype(result.dtype, input, "mvlgamma_")
    return input.copy_(result)


def _i0(grad, input):
    return grad * flambeau.special.i1(input)


def _i1(grad, input, result):
    # A divisor of 1 at 0, so that the second derivative there is 0 as well, not 0 / 0.
    safe = flambeau.where(input == 0, 1, input)
    return grad * flambeau.where(input == 0, 0.5, flambeau.i0(input) - result / safe)


def _i1e(grad, input, result):
    safe = flambeau.where(input == 0, 1, input)
    slope = flambeau.special.i0e(input) - result * (input.sgn() + 1 / safe)
    return grad * flambeau.where(input == 0, 0.5, slope)


unary(
    "i0",
    """Modified Bessel function of the first kind, order 0.

    >>> flambeau.i0(flambeau.tensor([0.0, 0.5]))
    tensor([1.0000, 1.0635])
    """,
    _i0,
)
unary(
    "special_i0e",
    """exp(-|input|) * i0(input).

    >>> flambeau.special.i0e(flambeau.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6450])
    """,
    lambda grad, input, result: grad * (flambeau.special.i1e(input) - input.sgn() * result),
    method=False,
    public=False,
    inplace=False,
)
unary(
    "special_i1",
    """Modified Bessel function of the first kind, order 1.

    >>> flambeau.special.i1(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.2579])
    """,
    _i1,
    method=False,
    public=False,
    inplace=False,
)
unary(
    "special_i1e",
    """exp(-|input|) * i1(input).

    >>> flambeau.special.i1e(flambeau.tensor([0.0, 0.5]))
    tensor([0.0000, 0.1564])
    """,
    _i1e,
    method=False,
    public=False,
    inplace=False,
)
unary(
    "special_bessel_j0",
    """Bessel function of the first kind, order 0.

    >>> flambeau.special.bessel_j0(flambeau.tensor([1.0, 2.0]))
    tensor([0.7652, 0.2239])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
unary(
    "special_bessel_j1",
    """Bessel function of the first kind, order 1.

    >>> flambeau.special.bessel_j1(flambeau.tensor([1.0, 2.0]))
    tensor([0.4401, 0.5767])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
unary(
    "special_bessel_y0",
    """Bessel function of the second kind, order 0.

    >>> flambeau.special.bessel_y0(flambeau.tensor([1.0, 2.0]))
    tensor([0.0883, 0.5104])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
unary(
    "special_bessel_y1",
    """Bessel function of the second kind, order 1.

    >>> flambeau.special.bessel_y1(flambeau.tensor([1.0, 2.0]))
    tensor([-0.7812, -0.1070])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
unary(
    "special_modified_bessel_i0",
    """Modified Bessel function of the first kind, order 0.

    >>> flambeau.special.modified_bessel_i0(flambeau.tensor([1.0, 2.0]))
    tensor([1.2661, 2.2796])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
    impl="i0",
)
unary(
    "special_modified_bessel_i1",
    """Modified Bessel function of the first kind, order 1.

    >>> flambeau.special.modified_bessel_i1(flambeau.tensor([1.0, 2.0]))
    tensor([0.5652, 1.5906])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
    impl="special_i1",
)
unary(
    "special_modified_bessel_k0",
    """Modified Bessel function of the second kind, order 0.

    >>> flambeau.special.modified_bessel_k0(flambeau.tensor([1.0, 2.0]))
    tensor([0.4210, 0.1139])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
unary(
    "special_modified_bessel_k1",
    """Modified Bessel function of the second kind, order 1.

    >>> flambeau.special.modified_bessel_k1(flambeau.tensor([1.0, 2.0]))
    tensor([0.6019, 0.1399])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
unary(
    "special_scaled_modified_bessel_k0",
    """exp(input) * k0(input).

    >>> flambeau.special.scaled_modified_bessel_k0(flambeau.tensor([1.0, 2.0]))
    tensor([1.1445, 0.8416])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
unary(
    "special_scaled_modified_bessel_k1",
    """exp(input) * k1(input).

    >>> flambeau.special.scaled_modified_bessel_k1(flambeau.tensor([1.0, 2.0]))
    tensor([1.6362, 1.0335])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
unary(
    "special_airy_ai",
    """The Airy function Ai: the solution of y'' = input * y that vanishes at infinity.

    >>> flambeau.special.airy_ai(flambeau.tensor([0.0, 1.0]))
    tensor([0.3550, 0.1353])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
unary(
    "special_spherical_bessel_j0",
    """sin(input) / input, 1 at 0: the spherical Bessel function of the first kind, order 0.

    >>> flambeau.special.spherical_bessel_j0(flambeau.tensor([0.0, 1.0]))
    tensor([1.0000, 0.8415])
    """,
    method=False,
    public=False,
    inplace=False,
    why_not="not differentiable",
)
op(
    "special_zeta(Operand input, Operand other, *, Tensor? out=None) -> Tensor",
    """Hurwitz zeta function: the sum over k >= 0 of (k + other) ** -input.

    >>> flambeau.special.zeta(flambeau.tensor([2.0]), 1)
    tensor([1.6449])
    """,
    family="pointwise",
    kind="float",
    method=False,
    public=False,
    vjp={"other": lambda grad, input, other: grad * -input * flambeau.special.zeta(input + 1, other)},
)


def _gamma_density(grad, input, other):
    return grad * ((other.log() * (input - 1)) - other - input.lgamma()).exp()


binary(
    "igamma",
    """Regularised lower incomplete gamma function P(input, other).

    >>> flambeau.igamma(flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, 1.0]))
    tensor([0.9502, 0.2642])
    """,
    {"other": lambda grad, input, other: _gamma_density(grad, input, other)},
)
binary(
    "igammac",
    """Regularised upper incomplete gamma function, 1 - P(input, other).

    >>> flambeau.igammac(flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, 1.0]))
    tensor([0.0498, 0.7358])
    """,
    {"other": lambda grad, input, other: -_gamma_density(grad, input, other)},
)
