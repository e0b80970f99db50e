"""Window functions: `window_length` weights, for one period of a longer signal unless `periodic` is False."""

import math

from .registry import composite


def _window(name, length, periodic, dtype, layout, device, pin_memory, requires_grad, make):
    """make(positions, steps): the window at positions 0 ... n - 1, whose last one is `steps`."""
    import flambeau

    dtype = flambeau.get_default_dtype() if dtype is None else dtype
    if layout not in (None, flambeau.strided):
        raise RuntimeError(f"{name} is not implemented for sparse types, got: {layout}")
    if not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    if length < 2:
        window = flambeau.ones(length, dtype=dtype, device=device)
    else:
        n = length + 1 if periodic else length
        window = make(flambeau.arange(n, dtype=dtype, device=device), n - 1)
        window = window.narrow(0, 0, length) if periodic else window
    return window.requires_grad_(requires_grad)


@composite
def hamming_window(
    window_length,
    periodic=True,
    alpha=0.54,
    beta=0.46,
    *,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=False,
    requires_grad=False,
):
    """alpha - beta * cos(2 pi i / (N - 1)).

    >>> flambeau.hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """

    def make(i, steps):
        return i.mul_(2 * math.pi / steps).cos_().mul_(-beta).add_(alpha)

    return _window(
        "hamming_window", window_length, periodic, dtype, layout, device, pin_memory, requires_grad, make
    )


@composite
def hann_window(
    window_length,
    periodic=True,
    *,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=False,
    requires_grad=False,
):
    """(1 - cos(2 pi i / (N - 1))) / 2.

    >>> flambeau.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """

    def make(i, steps):
        return i.mul_(2 * math.pi / steps).cos_().mul_(-0.5).add_(0.5)

    return _window(
        "hann_window", window_length, periodic, dtype, layout, device, pin_memory, requires_grad, make
    )


@composite
def bartlett_window(
    window_length,
    periodic=True,
    *,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=False,
    requires_grad=False,
):
    """A triangle from 0 up to 1 and down again.

    >>> flambeau.bartlett_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """

    def make(i, steps):
        i.mul_(2.0 / steps)
        i[steps // 2 + 1 :].mul_(-1).add_(2)
        return i

    return _window(
        "bartlett_window", window_length, periodic, dtype, layout, device, pin_memory, requires_grad, make
    )


@composite
def blackman_window(
    window_length,
    periodic=True,
    *,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=False,
    requires_grad=False,
):
    """0.42 - 0.5 * cos(2 pi i / (N - 1)) + 0.08 * cos(4 pi i / (N - 1)).

    >>> flambeau.blackman_window(5, periodic=False, dtype=flambeau.float64)[2]
    tensor(1., dtype=torch.float64)
    """

    def make(i, steps):
        i.mul_(math.pi / steps)
        return i.mul(4).cos_().mul_(0.08) - i.mul(2).cos_().mul_(0.5) + 0.42

    return _window(
        "blackman_window", window_length, periodic, dtype, layout, device, pin_memory, requires_grad, make
    )


@composite
def kaiser_window(
    window_length,
    periodic=True,
    beta=12.0,
    *,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=False,
    requires_grad=False,
):
    """I0(beta * sqrt(1 - (2 i / (N - 1) - 1)^2)) / I0(beta), I0 the modified Bessel function of order zero.

    >>> flambeau.kaiser_window(4, periodic=False).argmax()
    tensor(1)
    """
    import flambeau

    def make(i, steps):
        x = (i * (2.0 / steps) - 1).square_().neg_().add_(1).clamp_(min=0).sqrt_()
        return flambeau.i0(x.mul_(beta)) / flambeau.i0(flambeau.tensor(beta, dtype=flambeau.float64)).item()

    return _window(
        "kaiser_window", window_length, periodic, dtype, layout, device, pin_memory, requires_grad, make
    )
