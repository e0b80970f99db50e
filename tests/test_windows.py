"""Pooling in every layout, windows at random places, windows as columns."""

import itertools
import math

import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau import nn
from flambeau._ops.pooling import _max_pool_backward


def image(*shape, dtype=flambeau.float32):
    count = math.prod(shape)
    values = [((i * 37 + 11) % 101) / 10 - 5 for i in range(count)]
    return flambeau.tensor(values, dtype=dtype).reshape(shape)


POOLS = {
    "max": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max dilated": lambda x: F.max_pool2d(x, (2, 3), (1, 2), 1, (2, 1), ceil_mode=True),
    "max indices": lambda x: F.max_pool2d(x, 2, return_indices=True),
    "avg": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "avg inside": lambda x: F.avg_pool2d(x, (2, 3), 2, 1, ceil_mode=True, count_include_pad=False),
    "avg divisor": lambda x: F.avg_pool2d(x, 2, 1, divisor_override=3),
    "adaptive avg": lambda x: F.adaptive_avg_pool2d(x, (3, 5)),
    "adaptive max": lambda x: F.adaptive_max_pool2d(x, (4, 1), return_indices=True),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("channels", [3, 16, 70])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_channels_last_gives_what_planes_give(name, channels, dtype):
    planes = image(2, channels, 7, 8, dtype=getattr(flambeau, dtype)).requires_grad_()
    last = planes.detach().contiguous(memory_format=flambeau.channels_last).requires_grad_()
    expected, found = POOLS[name](planes), POOLS[name](last)
    if not isinstance(expected, tuple):
        expected, found = (expected,), (found,)
    for a, b in zip(found, expected, strict=True):
        assert a.is_contiguous(memory_format=flambeau.channels_last)
        flambeau.testing.assert_close(a, b)
    weights = image(*found[0].shape, dtype=planes.dtype)
    (wanted,) = flambeau.autograd.grad(expected[0], planes, weights)
    for format in (flambeau.contiguous_format, flambeau.channels_last):
        g = weights.contiguous(memory_format=format)
        (got,) = flambeau.autograd.grad(found[0], last, g, retain_graph=True)
        flambeau.testing.assert_close(got, wanted)


def test_the_last_nan_of_a_window_is_its_maximum_in_every_layout():
    x = image(1, 32, 4, 4)
    x[0, :, 0, 1] = x[0, :, 1, 0] = math.nan
    x[0, :, 2:, 2:] = -math.inf
    last = x.contiguous(memory_format=flambeau.channels_last)
    for y in (x, last):
        values, indices = F.max_pool2d(y, 2, return_indices=True)
        assert values[0, :, 0, 0].isnan().all() and (indices[0, :, 0, 0] == 4).all()
        assert (indices[0, :, 1, 1] == 10).all()  # where nothing exceeds -inf the first element stands


@pytest.mark.parametrize("channels", [2, 1100])
def test_gradients_of_maxima_reach_their_places_however_long_the_runs_of_indices(channels):
    x = image(2, channels, 4, 46).repeat(1, 1, 13, 1) if channels == 2 else image(2, channels, 4, 4)
    for format in (flambeau.contiguous_format, flambeau.channels_last):
        y = x.contiguous(memory_format=format).requires_grad_()
        values, indices = F.max_pool2d(y, 2, 1, return_indices=True)
        g = image(*values.shape).contiguous(memory_format=format)
        (found,) = flambeau.autograd.grad(values, y, g)
        flat = flambeau.zeros(2, channels, y.shape[2] * y.shape[3])
        flat.scatter_add_(2, indices.flatten(2), g.flatten(2))
        assert flambeau.equal(found, flat.reshape(found.shape))
        with_two = flambeau.get_num_threads()
        try:
            flambeau.set_num_threads(1 if with_two > 1 else 2)
            values = F.max_pool2d(y, 2, 1)
            assert flambeau.equal(flambeau.autograd.grad(values, y, g)[0], found)
        finally:
            flambeau.set_num_threads(with_two)


@pytest.mark.parametrize("bad", [-1, 16, 2**32, -(2**63)])
def test_indices_outside_of_the_plane_are_refused(bad):
    x = image(1, 3, 4, 4)
    indices = F.max_pool2d(x, 2, return_indices=True)[1]
    indices[0, 2, 1, 1] = bad
    for format in (flambeau.contiguous_format, flambeau.channels_last):
        with pytest.raises(RuntimeError, match="outside of the input's 16 elements"):
            _max_pool_backward(
                flambeau.ones(1, 3, 2, 2), indices.contiguous(memory_format=format), [1, 3, 4, 4], 2
            )


def test_integers_in_channels_last():
    x = (flambeau.arange(2 * 20 * 36) * 37 % 101).reshape(2, 20, 6, 6)
    last = x.contiguous(memory_format=flambeau.channels_last)
    assert flambeau.equal(F.max_pool2d(last, 3), F.max_pool2d(x, 3))
    assert flambeau.equal(F.avg_pool2d(last, 3), F.avg_pool2d(x, 3))


# --- windows at random places ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3])
def test_fractional_pooling_takes_the_maxima_of_the_windows_that_were_drawn(n):
    sizes, out, kernel = (6, 7, 8)[-n:], (3, 4, 2)[-n:], 2
    x = image(2, 3, *sizes, dtype=flambeau.float64)
    samples = flambeau.rand(2, 3, n, dtype=flambeau.float64)
    pool = F.fractional_max_pool2d if n == 2 else F.fractional_max_pool3d
    values, indices = pool(x, kernel, out, return_indices=True, _random_samples=samples)
    assert flambeau.equal(x.flatten(2).gather(2, indices.flatten(2)).view(values.shape), values)
    for b, c in itertools.product(range(2), range(3)):
        starts = []
        for d in range(n):
            # Planes take the first draw for the width, volumes for the depth.
            u = samples[b, c, n - 1 - d if n == 2 else d].item()
            alpha = (sizes[d] - kernel) / (out[d] - 1)
            at = [int((i + u) * alpha) - int(u * alpha) for i in range(out[d] - 1)]
            starts.append([*at, sizes[d] - kernel])
        for place in itertools.product(*map(range, out)):
            window = x[(b, c, *(slice(s[o], s[o] + kernel) for s, o in zip(starts, place, strict=True)))]
            assert values[(b, c, *place)] == window.max()


def test_fractional_pooling_draws_as_pytorch():
    flambeau.manual_seed(0)
    x = flambeau.arange(49.0).view(1, 1, 7, 7)
    # From PyTorch 2.13 under the same seed.
    assert F.fractional_max_pool2d(x, 2, 3).flatten().tolist() == FRACTIONAL
    assert nn.FractionalMaxPool2d(2, output_ratio=0.5)(x).shape == (1, 1, 3, 3)
    volume = x.view(1, 1, 1, 7, 7).expand(1, 1, 4, 7, 7)
    assert nn.FractionalMaxPool3d(2, output_size=2, return_indices=True)(volume)[1].shape == (1, 1, 2, 2, 2)


FRACTIONAL = [8.0, 10.0, 13.0, 29.0, 31.0, 34.0, 43.0, 45.0, 48.0]


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda x: F.fractional_max_pool2d(x, 2), ValueError, "requires specifying either"),
        (lambda x: F.fractional_max_pool2d(x, 2, (7, 3)), RuntimeError, "pool height 2 too large relative to input height"),
        (lambda x: F.fractional_max_pool2d(x, 0, 2), RuntimeError, "greater than zero"),
        (lambda x: F.fractional_max_pool2d(x, 2, 2, _random_samples=flambeau.rand(1, 1, 2)), RuntimeError, "channel size"),
        (lambda x: F.fractional_max_pool2d(x.double(), 2, 2, _random_samples=x[:, :, 0, :2]), RuntimeError, "same dtype"),
        (lambda x: nn.FractionalMaxPool2d(2), ValueError, "requires specifying either"),
        (lambda x: nn.FractionalMaxPool2d(2, 3, 0.5), ValueError, "only one of"),
        (lambda x: nn.FractionalMaxPool2d(2, output_ratio=1.5), ValueError, "between 0 and 1"),
        (lambda x: F.max_pool1d(x[0], 9), RuntimeError, "Invalid computed output size"),
        (lambda x: F.adaptive_max_pool2d(x, ()), RuntimeError, "internal error: output_size.size\\(\\) must be 2"),
        (lambda x: F.adaptive_max_pool2d(x, (-1, 2)), RuntimeError, "negative dimension"),
        (lambda x: F.max_pool3d(x[:0], 1), RuntimeError, "to have positive length"),
        (lambda x: F.avg_pool3d(x[0], 1), RuntimeError, "non-empty 4D or 5D"),
    ],
)  # fmt: skip
def test_impossible_calls_are_refused(call, error, text):
    with pytest.raises(error, match=text):
        call(flambeau.ones(1, 2, 6, 7))


def test_draws_beyond_their_range_stay_inside():
    for value in (-1e30, 1e30, math.nan, 1.0, -0.5):
        x, samples = flambeau.ones(1, 1, 6, 6), flambeau.full((1, 1, 2), value)
        assert F.fractional_max_pool2d(x, 2, 3, _random_samples=samples).shape == (1, 1, 3, 3)


# --- columns --------------------------------------------------------------------------------------------------------------

SETTINGS = [((2, 2), 1, 0, 1), ((3, 2), (1, 2), (1, 0), (2, 1)), ((2, 3), 2, 2, (1, 3))]


@pytest.mark.parametrize("kernel, dilation, padding, stride", SETTINGS)
@pytest.mark.parametrize("dtype", ["float64", "float16", "complex64"])
def test_unfold_and_fold(kernel, dilation, padding, stride, dtype):
    x = image(2, 3, 6, 7, dtype=flambeau.float64).to(getattr(flambeau, dtype))
    columns = F.unfold(x, kernel, dilation, padding, stride)
    pairs = [v if isinstance(v, tuple) else (v, v) for v in (dilation, padding, stride)]
    (dh, dw), (ph, pw), (sh, sw) = pairs
    rows = (6 + 2 * ph - dh * (kernel[0] - 1) - 1) // sh + 1
    cols = (7 + 2 * pw - dw * (kernel[1] - 1) - 1) // sw + 1
    assert columns.shape == (2, 3 * kernel[0] * kernel[1], rows * cols)
    padded = F.pad(x, (pw, pw, ph, ph))
    back = flambeau.zeros_like(padded)
    for i, j, k, m in itertools.product(range(rows), range(cols), range(kernel[0]), range(kernel[1])):
        element = columns.view(2, 3, *kernel, rows, cols)[:, :, k, m, i, j]
        place = (slice(None), slice(None), i * sh + k * dh, j * sw + m * dw)
        assert flambeau.equal(element, padded[place])
        back[place] += element
    found = F.fold(columns, (6, 7), kernel, dilation, padding, stride)
    tolerance = 2e-2 if dtype == "float16" else 1e-6
    flambeau.testing.assert_close(found, back[:, :, ph : ph + 6, pw : pw + 7], rtol=tolerance, atol=tolerance)


# --- adaptive windows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes, out", [((9, 40), (4, 7)), ((8, 8), (2, 4)), ((3, 2000), (2, 5)), ((5, 6), (5, 2))]
)
def test_adaptive_windows_one_by_one(sizes, out):
    x = image(2, 3, *sizes, dtype=flambeau.float64)
    x[1, 2, 0, 1] = x[1, 2, 1, 0] = math.nan
    x[0, 1] = -math.inf
    means = F.adaptive_avg_pool2d(x, out)
    maxima, indices = F.adaptive_max_pool2d(x, out, return_indices=True)
    flambeau.testing.assert_close(F.adaptive_max_pool2d(x, out), maxima, equal_nan=True)
    for i, j in itertools.product(*map(range, out)):
        (top, bottom), (left, right) = (
            (k * size // o, -(-(k + 1) * size // o)) for k, size, o in zip((i, j), sizes, out, strict=True)
        )
        window = x[:, :, top:bottom, left:right].flatten(2)
        flambeau.testing.assert_close(means[:, :, i, j], window.mean(2), equal_nan=True)
        for b, c in itertools.product(range(2), range(3)):
            values = window[b, c].tolist()
            missing = [k for k, v in enumerate(values) if v != v]
            at = missing[-1] if missing else values.index(max(values))
            place = (top + at // (right - left)) * sizes[1] + left + at % (right - left)
            assert indices[b, c, i, j] == place
            assert missing or maxima[b, c, i, j] == values[at]
