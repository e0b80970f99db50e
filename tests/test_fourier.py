"""Fourier transforms against NumPy's, their inverses, gradients and errors."""

import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck

# Every radix, several passes, primes up to and beyond the largest radix, and Bluestein's padding.
LENGTHS = [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    11,
    12,
    13,
    16,
    24,
    30,
    31,
    35,
    37,
    64,
    77,
    97,
    100,
    128,
    210,
    243,
    509,
    512,
    1000,
    2310,
]
NORMS = [None, "backward", "forward", "ortho"]


def signal(*shape, dtype=torch.complex128, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def close(actual, expected, tolerance):
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    if expected.size:
        size = max(float(np.abs(expected).max()), 1e-300)
        assert float(np.abs(actual.resolve_conj().numpy() - expected).max()) <= tolerance * size


@pytest.mark.parametrize("dtype, tolerance", [(torch.complex128, 1e-13), (torch.complex64, 3e-6)])
@pytest.mark.parametrize("n", LENGTHS)
def test_lengths(n, dtype, tolerance):
    # What is small in single precision is computed in double: the last count of rows is not.
    for rows in (1, 2, 5, 37, 1024 // n + 1):
        x = signal(rows, n, dtype=dtype)
        wide = x.to(torch.complex128).numpy()
        close(torch.fft.fft(x), np.fft.fft(wide), tolerance)
        close(torch.fft.ifft(x), np.fft.ifft(wide), tolerance)
        close(torch.fft.fft(x.t(), dim=0), np.fft.fft(wide.T, axis=0), tolerance)
        real = x.real.to(torch.float64).numpy()
        close(torch.fft.rfft(x.real), np.fft.rfft(real), tolerance)
        close(torch.fft.rfft(x.real.t(), dim=0), np.fft.rfft(real.T, axis=0), tolerance)
        for m in (n, 2 * n - 1, 2 * n + 3):
            close(torch.fft.irfft(x, m), np.fft.irfft(wide, m), 3 * tolerance)
        close(torch.fft.ifft(torch.fft.fft(x)), wide, 2 * tolerance)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
def test_small_transforms_in_single_precision_are_rounded_once(name):
    x = signal(5, 6, 7, dtype=torch.complex64) * 9
    x = x.real if name == "rfftn" else x
    exact = getattr(torch.fft, name)(x.to(torch.complex128 if x.is_complex() else torch.float64))
    result = getattr(torch.fft, name)(x)
    assert torch.equal(result, exact.to(result.dtype))


@pytest.mark.parametrize("norm", NORMS)
def test_all_functions_are_numpys(norm):
    x = signal(4, 5, 6)
    for name in ("fft", "ifft", "hfft", "irfft"):
        for n, dim in ((None, -1), (4, 0), (9, 1)):
            close(
                getattr(torch.fft, name)(x, n, dim, norm),
                getattr(np.fft, name)(x.numpy(), n, dim, norm),
                1e-13,
            )
    for name in ("rfft", "ihfft"):
        for n, dim in ((None, -1), (4, 0), (9, 1)):
            close(
                getattr(torch.fft, name)(x.real, n, dim, norm),
                getattr(np.fft, name)(x.real.numpy(), n, dim, norm),
                1e-13,
            )
    for name, input in (("fftn", x), ("ifftn", x), ("irfftn", x), ("rfftn", x.real)):
        for s, dim in ((None, None), (None, (0, 2)), ((3, 8), (2, 0)), ((7, 3, 4), (0, 1, 2))):
            close(
                getattr(torch.fft, name)(input, s, dim, norm),
                getattr(np.fft, name)(input.numpy(), s, dim, norm),
                1e-13,
            )
    for name, input in (("fft2", x), ("ifft2", x), ("irfft2", x), ("rfft2", x.real)):
        close(
            getattr(torch.fft, name)(input, norm=norm), getattr(np.fft, name)(input.numpy(), norm=norm), 1e-13
        )


def test_hermitian_transforms_undo_each_other():
    x = signal(4, 6, dtype=torch.float64)
    half = torch.fft.ihfftn(x)
    assert half.shape == (4, 4)
    assert torch.allclose(torch.fft.hfftn(half, x.shape), x)
    assert torch.allclose(torch.fft.hfft2(torch.fft.ihfft2(x)), x)


def test_frequencies_and_shifts():
    for n in (1, 4, 5):
        close(torch.fft.fftfreq(n, 0.5), np.fft.fftfreq(n, 0.5), 1e-7)
        close(torch.fft.rfftfreq(n, 0.5), np.fft.rfftfreq(n, 0.5), 1e-7)
        x = torch.arange(n * 3).reshape(n, 3)
        assert np.array_equal(torch.fft.fftshift(x).numpy(), np.fft.fftshift(x.numpy()))
        assert np.array_equal(torch.fft.ifftshift(x, 0).numpy(), np.fft.ifftshift(x.numpy(), 0))


def test_dtypes():
    assert torch.fft.fft(torch.ones(3, dtype=torch.int32)).dtype == torch.complex64
    assert torch.fft.rfft(torch.ones(3, dtype=torch.float64)).dtype == torch.complex128
    assert torch.fft.irfft(torch.ones(3, dtype=torch.complex64)).dtype == torch.float32
    assert torch.fft.fft(torch.zeros(0, 4)).shape == (0, 4)
    assert torch.fft.fft(torch.ones(2, 4, device="meta")).shape == (2, 4)


def test_bits_do_not_depend_on_threads():
    x = signal(50, 330, dtype=torch.complex64)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(torch.fft.fft2(x))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    "name", ["fft", "ifft", "hfft", "irfft", "rfft", "ihfft", "fftn", "rfftn", "irfftn", "hfftn", "ihfftn"]
)
def test_gradients(name):
    real = name in ("rfft", "ihfft", "rfftn", "ihfftn")
    x = signal(2, 5, dtype=torch.float64 if real else torch.complex128).requires_grad_()
    for norm in (None, "ortho"):
        for size in (None, 4, 7):
            many = name.endswith("n")
            function = lambda x: getattr(torch.fft, name)(x, (3, size) if many and size else size, norm=norm)  # noqa: B023
            assert gradcheck(function, (x,))
            assert gradgradcheck(function, (x,), fast_mode=True)


def test_short_time_transforms():
    x = signal(3, 50, dtype=torch.float64)
    window = torch.hann_window(12, dtype=torch.float64)
    spectrum = torch.stft(x, 16, 4, 12, window, return_complex=True)
    assert spectrum.shape == (3, 9, 13)
    # one window by hand, in the middle of 16 points
    padded = np.pad(x[1].numpy(), 8, mode="reflect")[5 * 4 : 5 * 4 + 16]
    close(spectrum[1, :, 5], np.fft.rfft(padded * np.pad(window.numpy(), 2)), 1e-12)
    assert torch.allclose(torch.istft(spectrum, 16, 4, 12, window, length=50), x)
    full = torch.stft(x, 16, 4, 12, window, onesided=False, normalized=True, return_complex=True)
    assert full.shape == (3, 16, 13)
    back = torch.istft(
        full, 16, 4, 12, window, normalized=True, onesided=False, length=50, return_complex=True
    )
    assert torch.allclose(back.real, x) and torch.allclose(back.imag, torch.zeros_like(x))
    assert torch.stft(x[0], 16, center=False, return_complex=False).shape == (9, 9, 2)
    assert gradcheck(
        lambda t: torch.stft(t, 8, window=window[:8], return_complex=True), (x[0, :20].requires_grad_(),)
    )


def test_errors():
    fft = torch.fft
    with pytest.raises(RuntimeError, match=r"Invalid number of data points \(0\) specified"):
        fft.fft(torch.ones(4), 0)
    with pytest.raises(RuntimeError, match="Invalid number of data points"):
        fft.irfft(torch.ones(1))
    with pytest.raises(IndexError, match="Dimension out of range"):
        fft.fft(torch.ones(4), dim=3)
    with pytest.raises(RuntimeError, match='Invalid normalization mode: "x"'):
        fft.fft(torch.ones(4), norm="x")
    with pytest.raises(RuntimeError, match="rfft expects a real input tensor, but got ComplexFloat"):
        fft.rfft(torch.ones(4, dtype=torch.complex64))
    with pytest.raises(RuntimeError, match="FFT dims must be unique"):
        fft.fftn(torch.ones(2, 2), dim=(0, -2))
    with pytest.raises(RuntimeError, match="Unsupported dtype Half"):
        fft.fft(torch.ones(4, dtype=torch.float16))
    with pytest.raises(RuntimeError, match="complex output tensor"):
        fft.fft(torch.ones(4), out=torch.ones(4))
    with pytest.raises(RuntimeError):
        fft.irfft(torch.ones(3), 2**60)
    with pytest.raises(RuntimeError, match="return_complex"):
        torch.stft(torch.ones(20), 4)
    with pytest.raises(RuntimeError, match="window overlap add min"):
        torch.istft(torch.ones(3, 4, dtype=torch.complex64), 4, window=torch.zeros(4))
    assert math.isnan(fft.fft(torch.tensor([float("nan"), 1.0]))[0].real.item())
