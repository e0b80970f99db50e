"""`torch.signal.windows`: closed forms, symmetry, periods and errors."""

import numpy as np
import pytest

import flambeau as t
from flambeau.signal import windows

MAKERS = {
    "bartlett": lambda m: np.bartlett(m),
    "blackman": lambda m: np.blackman(m),
    "hamming": lambda m: np.hamming(m),
    "hann": lambda m: np.hanning(m),
    "kaiser": lambda m: np.kaiser(m, 12.0),
    "cosine": lambda m: np.sin(np.pi * (np.arange(m) + 0.5) / m),
    "gaussian": lambda m: np.exp(-((np.arange(m) - (m - 1) / 2) ** 2) / 2),
    "exponential": lambda m: np.exp(-np.abs(np.arange(m) - (m - 1) / 2)),
}


@pytest.mark.parametrize("points", [1, 2, 3, 8, 33])
@pytest.mark.parametrize("name", MAKERS)
def test_closed_forms(name, points):
    make = getattr(windows, name)
    expected = MAKERS[name](points) if points > 1 else np.ones(1)
    assert np.allclose(make(points, dtype=t.float64).numpy(), expected, atol=1e-14)
    assert np.allclose(make(points).numpy(), expected, atol=1e-7) and make(points).dtype is t.float32


@pytest.mark.parametrize("name", [*MAKERS, "nuttall", "general_hamming"])
def test_a_period_is_the_longer_window_less_its_last_point(name):
    make = getattr(windows, name)
    whole, period = make(9, dtype=t.float64), make(8, sym=False, dtype=t.float64)
    assert np.allclose(whole[:8].numpy(), period.numpy()) and np.allclose(
        whole.numpy(), whole.flip(0).numpy()
    )
    assert make(0).shape == (0,)


def test_parameters():
    one = windows.general_cosine(16, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411])
    assert np.allclose(one.numpy(), windows.nuttall(16).numpy())
    assert windows.exponential(5, center=2.0, tau=2.0, sym=False)[0].item() == pytest.approx(np.exp(-1))
    assert windows.hann(4, requires_grad=True).requires_grad
    assert windows.hann(4, device="meta").shape == (4,)


@pytest.mark.parametrize(
    ("call", "error", "pattern"),
    [
        (lambda: windows.hann(-1), ValueError, "non-negative window length"),
        (lambda: windows.hann(3, dtype=t.float16), ValueError, "expects float32 or float64"),
        (lambda: windows.hann(3, layout=t.sparse_coo), ValueError, "strided tensors only"),
        (lambda: windows.kaiser(3, beta=-1), ValueError, "beta must be non-negative"),
        (lambda: windows.gaussian(3, std=0), ValueError, "Standard deviation must be positive"),
        (lambda: windows.exponential(3, tau=0), ValueError, "Tau must be positive"),
        (lambda: windows.exponential(3, center=1), ValueError, "Center must be None"),
        (lambda: windows.general_cosine(3, a=None), TypeError, "must be a list/tuple"),
        (lambda: windows.general_cosine(3, a=[]), ValueError, "cannot be empty"),
        (lambda: windows.hann("3"), TypeError, "not supported between"),
    ],
)
def test_errors(call, error, pattern):
    with pytest.raises(error, match=pattern):
        call()
