"""Window functions of `M` points, under the names of `torch.signal.windows`.

`sym` gives a symmetric window, for filters; without it one period of a periodic one, for spectra: the window of M + 1
points less its last. All are computed in double precision and rounded once to `dtype`, float32 or float64.
"""

import math

import flambeau

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]


def _window(name, M, sym, options, make):
    """The window whose points are make(n, N): n counts them from 0, N is the last one's number if it were symmetric."""
    dtype, layout = options.dtype, options.layout
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not flambeau.strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (flambeau.float32, flambeau.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    if M < 2:
        window = flambeau.ones((M,), dtype=dtype, device=options.device)
    else:
        n = flambeau.arange(M, dtype=flambeau.float64, device=options.device)
        window = make(n, M - 1 if sym else M).to(dtype)
    return window.requires_grad_(options.requires_grad)


class _Options:
    """Where and how the window is made; every function takes these by keyword."""

    def __init__(self, dtype=None, layout=None, device=None, requires_grad=False):
        self.dtype = flambeau.get_default_dtype() if dtype is None else dtype
        self.layout = flambeau.strided if layout is None else layout
        self.device = device
        self.requires_grad = requires_grad


def bartlett(M, *, sym=True, **options):
    """A triangle from 0 up to 1 and down to 0: ``1 - |2 n / N - 1|``.

    >>> flambeau.signal.windows.bartlett(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _window("bartlett", M, sym, _Options(**options), lambda n, N: 1 - (n * (2 / N) - 1).abs())


def cosine(M, *, sym=True, **options):
    """Half a wave: ``sin(pi (n + 1/2) / (N + 1))``.

    >>> flambeau.signal.windows.cosine(4)
    tensor([0.3827, 0.9239, 0.9239, 0.3827])
    """
    return _window(
        "cosine", M, sym, _Options(**options), lambda n, N: ((n + 0.5) * (math.pi / (N + 1))).sin()
    )


def exponential(M, *, center=None, tau=1.0, sym=True, **options):
    """``exp(-|n - center| / tau)``; the centre of a symmetric window is its middle and cannot be given.

    >>> flambeau.signal.windows.exponential(4)
    tensor([0.2231, 0.6065, 0.6065, 0.2231])
    """
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    return _window(
        "exponential",
        M,
        sym,
        _Options(**options),
        lambda n, N: ((n - (N / 2 if center is None else center)).abs() * (-1 / tau)).exp(),
    )


def gaussian(M, *, std=1.0, sym=True, **options):
    """``exp(-((n - N / 2) / std) ** 2 / 2)``.

    >>> flambeau.signal.windows.gaussian(5)
    tensor([0.1353, 0.6065, 1.0000, 0.6065, 0.1353])
    """
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _window(
        "gaussian", M, sym, _Options(**options), lambda n, N: (((n - N / 2) / std).square() * -0.5).exp()
    )


def kaiser(M, *, beta=12.0, sym=True, **options):
    """``I0(beta sqrt(1 - (2 n / N - 1) ** 2)) / I0(beta)``, I0 the modified Bessel function of order zero.

    >>> flambeau.signal.windows.kaiser(5)
    tensor([5.2773e-05, 2.1567e-01, 1.0000e+00, 2.1567e-01, 5.2773e-05])
    """
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def make(n, N):
        # Scaled by exp(-beta), neither overflows.
        x = (1 - (n * (2 / N) - 1).square()).clamp(min=0).sqrt() * beta
        top = flambeau.special.i0e(x) * (x - beta).exp()
        return top / flambeau.special.i0e(flambeau.full((), beta, dtype=flambeau.float64, device=n.device))

    return _window("kaiser", M, sym, _Options(**options), make)


def general_cosine(M, *, a, sym=True, **options):
    """The sum over i of ``(-1)**i a[i] cos(2 pi i n / N)``.

    >>> flambeau.signal.windows.general_cosine(5, a=[0.5, 0.5])
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _cosines("general_cosine", M, a, sym, _Options(**options))


def _cosines(name, M, a, sym, options):
    def make(n, N):
        return sum((-1) ** i * weight * (n * (2 * math.pi * i / N)).cos() for i, weight in enumerate(a))

    def refuse(n, N):
        if not isinstance(a, (list, tuple)):
            raise TypeError("Coefficients must be a list/tuple")
        raise ValueError("Coefficients cannot be empty")

    return _window(name, M, sym, options, make if isinstance(a, (list, tuple)) and a else refuse)


def general_hamming(M, *, alpha=0.54, sym=True, **options):
    """``alpha - (1 - alpha) cos(2 pi n / N)``.

    >>> flambeau.signal.windows.general_hamming(5, alpha=0.5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return general_cosine(M, a=[alpha, 1 - alpha], sym=sym, **options)


def hamming(M, *, sym=True, **options):
    """``0.54 - 0.46 cos(2 pi n / N)``.

    >>> flambeau.signal.windows.hamming(5)
    tensor([0.0800, 0.5400, 1.0000, 0.5400, 0.0800])
    """
    return general_hamming(M, sym=sym, **options)


def hann(M, *, sym=True, **options):
    """``(1 - cos(2 pi n / N)) / 2``.

    >>> flambeau.signal.windows.hann(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return general_hamming(M, alpha=0.5, sym=sym, **options)


def blackman(M, *, sym=True, **options):
    """``0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)``.

    >>> flambeau.signal.windows.blackman(5)[1:4]
    tensor([0.3400, 1.0000, 0.3400])
    """
    return _cosines("blackman", M, [0.42, 0.5, 0.08], sym, _Options(**options))


def nuttall(M, *, sym=True, **options):
    """Four terms, side lobes below -93 dB (A. Nuttall, IEEE Trans. Acoust. Speech Signal Process. 29, 1981).

    >>> flambeau.signal.windows.nuttall(5)
    tensor([3.6280e-04, 2.2698e-01, 1.0000e+00, 2.2698e-01, 3.6280e-04])
    """
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, **options)
