"""Orthogonal polynomials of a degree `n`, element by element.

A degree is cut towards zero to an integer; below zero the value is 0. One of `x` and `n` may be a number. Small degrees
go by the three-term recurrence, the Chebyshev kinds of higher ones by their closed forms in an angle.
"""

from .registry import op


def _polynomial(name, doc):
    op(
        f"special_{name}(Operand x, Operand n, *, Tensor? out=None) -> Tensor",
        doc,
        family="pointwise",
        kind="float",
        method=False,
        public=False,
        why_not="not differentiable",
    )


_polynomial(
    "chebyshev_polynomial_t",
    """Chebyshev polynomial of the first kind: cos(n t) at x = cos(t).

    >>> flambeau.special.chebyshev_polynomial_t(flambeau.tensor([0.5, 2.0]), 3)
    tensor([-1., 26.])
    """,
)
_polynomial(
    "chebyshev_polynomial_u",
    """Chebyshev polynomial of the second kind: sin((n + 1) t) / sin(t) at x = cos(t).

    >>> flambeau.special.chebyshev_polynomial_u(flambeau.tensor([0.5, 2.0]), 3)
    tensor([-1., 56.])
    """,
)
_polynomial(
    "chebyshev_polynomial_v",
    """Chebyshev polynomial of the third kind: cos((n + 1/2) t) / cos(t / 2) at x = cos(t).

    >>> flambeau.special.chebyshev_polynomial_v(flambeau.tensor([0.5, 2.0]), 3)
    tensor([-1., 41.])
    """,
)
_polynomial(
    "chebyshev_polynomial_w",
    """Chebyshev polynomial of the fourth kind: sin((n + 1/2) t) / sin(t / 2) at x = cos(t).

    >>> flambeau.special.chebyshev_polynomial_w(flambeau.tensor([0.5, 2.0]), 3)
    tensor([-1., 71.])
    """,
)
_polynomial(
    "shifted_chebyshev_polynomial_t",
    """:func:`special_chebyshev_polynomial_t` at 2 x - 1.

    >>> flambeau.special.shifted_chebyshev_polynomial_t(flambeau.tensor([0.75, 1.0]), 3)
    tensor([-1.,  1.])
    """,
)
_polynomial(
    "shifted_chebyshev_polynomial_u",
    """:func:`special_chebyshev_polynomial_u` at 2 x - 1.

    >>> flambeau.special.shifted_chebyshev_polynomial_u(flambeau.tensor([0.75, 1.0]), 3)
    tensor([-1.,  4.])
    """,
)
_polynomial(
    "shifted_chebyshev_polynomial_v",
    """:func:`special_chebyshev_polynomial_v` at 2 x - 1.

    >>> flambeau.special.shifted_chebyshev_polynomial_v(flambeau.tensor([0.75, 1.0]), 3)
    tensor([-1.,  1.])
    """,
)
_polynomial(
    "shifted_chebyshev_polynomial_w",
    """:func:`special_chebyshev_polynomial_w` at 2 x - 1.

    >>> flambeau.special.shifted_chebyshev_polynomial_w(flambeau.tensor([0.75, 1.0]), 3)
    tensor([-1.,  7.])
    """,
)
_polynomial(
    "hermite_polynomial_h",
    """Hermite polynomial, the physicists' one: H(n+1) = 2 x H(n) - 2 n H(n-1).

    >>> flambeau.special.hermite_polynomial_h(flambeau.tensor([0.5, 2.0]), 3)
    tensor([-5., 40.])
    """,
)
_polynomial(
    "hermite_polynomial_he",
    """Hermite polynomial, the probabilists' one: He(n+1) = x He(n) - n He(n-1).

    >>> flambeau.special.hermite_polynomial_he(flambeau.tensor([1.0, 2.0]), 3)
    tensor([-2.,  2.])
    """,
)
_polynomial(
    "laguerre_polynomial_l",
    """Laguerre polynomial: (n+1) L(n+1) = (2 n + 1 - x) L(n) - n L(n-1); nan for degrees above 2 ** 20.

    >>> flambeau.special.laguerre_polynomial_l(flambeau.tensor([1.0, 2.0]), 2)
    tensor([-0.5000, -1.0000])
    """,
)
_polynomial(
    "legendre_polynomial_p",
    """Legendre polynomial: (n+1) P(n+1) = (2 n + 1) x P(n) - n P(n-1).

    >>> flambeau.special.legendre_polynomial_p(flambeau.tensor([0.5, 1.0]), 2)
    tensor([-0.1250,  1.0000])
    """,
)
